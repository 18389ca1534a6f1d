"""Does one thing that matters to a move, says "up", and waits. program.py THING [FOLDER]"""
import ctypes
import mmap
import os
import select
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
kept = []
page = mmap.PAGESIZE
big = 80 << 20


def syscall(number, *args):
    got = libc.syscall(number, *args)
    if got < 0:
        unsupported(os.strerror(ctypes.get_errno()))
    return got


def unsupported(why):
    print("unsupported", why, flush=True)
    sys.exit(0)


def keep(thing):
    kept.append(thing)
    return thing


def plain(folder):
    reader, writer = os.pipe()
    poll = keep(select.epoll())
    poll.register(reader, select.EPOLLIN)
    one, other = socket.socketpair()
    if os.fork() == 0:
        wait()
    keep((one, other, reader, writer, open("/dev/null"), open("/dev/urandom"), open("/proc/self/status")))
    keep(os.open(os.path.join(folder, "log"), os.O_RDWR | os.O_CREAT))
    keep(socket.create_server(("127.0.0.1", 0)))
    keep(mmap.mmap(-1, big))
    keep(os.memfd_create("kept"))


def io_uring(_):
    keep(syscall(425, 4, ctypes.create_string_buffer(120)))


def userfaultfd(_):
    keep(syscall(323, 1))


def memfd_secret(_):
    secret = syscall(447, 0)
    os.ftruncate(secret, page)
    keep(mmap.mmap(secret, page))
    os.close(secret)


def huge_pages(_):
    try:
        memory = keep(mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))
        memory[0] = 1
    except OSError as error:
        unsupported(error.strerror)


def system_v_memory(_):
    shared = libc.shmget(0, page, 0o1600)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat(shared, None, 0)
    libc.shmctl(shared, 0, None)


def device(_):
    keep(os.open("/dev/loop-control", os.O_RDWR))


def vfork(_):
    """The parent is in the kernel until its child ends, and cannot be stopped there."""
    print("up", flush=True)
    child = ctypes.CDLL(None).vfork
    libc.pause.restype = ctypes.c_int
    if child() == 0:
        libc.pause()
        os._exit(0)


def terminal(_):
    keep(os.openpty())


def mptcp(_):
    server = keep(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
    server.bind(("127.0.0.1", 0))
    server.listen()


def vsock(_):
    keep(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))


def unix_peer(folder):
    """The peer is a process that is no descendant: its parent has ended before the program begins."""
    client = keep(socket.socket(socket.AF_UNIX))
    client.connect(os.path.join(folder, "socket"))


def unix_datagram_peer(folder):
    client = keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    client.connect(os.path.join(folder, "socket"))


def watch(folder):
    fd = keep(libc.inotify_init())
    if libc.inotify_add_watch(fd, folder.encode(), 2) < 0:
        unsupported(os.strerror(ctypes.get_errno()))


def outside_mounts(folder):
    """Its file stays open when the file system it is on is unmounted."""
    if libc.mount(b"none", folder.encode(), b"tmpfs", 0, None) != 0:
        unsupported(os.strerror(ctypes.get_errno()))
    keep(open(os.path.join(folder, "file"), "w"))
    libc.umount2(folder.encode(), 2)


def deleted_large(folder):
    path = os.path.join(folder, "deleted")
    file = keep(open(path, "wb"))
    for _ in range(big >> 20):
        file.write(b"x" * (1 << 20))
    file.flush()
    os.unlink(path)


def deleted_small(folder):
    path = os.path.join(folder, "deleted")
    file = keep(open(path, "wb"))
    file.write(b"x" * page)
    file.flush()
    os.unlink(path)


def mapped_deleted_large(folder):
    deleted_large(folder)
    file = kept.pop()
    fd = os.open("/proc/self/fd/%d" % file.fileno(), os.O_RDONLY)
    keep(mmap.mmap(fd, page, prot=mmap.PROT_READ))
    os.close(fd)
    file.close()


def name_lost(folder):
    path = os.path.join(folder, "first")
    keep(open(path, "wb"))
    os.link(path, os.path.join(folder, "second"))
    os.unlink(path)


def several(folder):
    device(folder)
    deleted_large(folder)
    name_lost(folder)


def traced(_):
    child = os.fork()
    if child == 0:
        wait()
    if libc.ptrace(0x4206, child, None, None) != 0:
        unsupported("ptrace")


def process_watched(_):
    keep(os.pidfd_open(int(os.environ["WATCHED"])))


def process_of_tree_watched(_):
    child = os.fork()
    if child == 0:
        wait()
    keep(os.pidfd_open(child))


def perf_counter(_):
    attribute = (ctypes.c_uint8 * 128)()
    attribute[0] = 1
    attribute[4] = 128
    keep(syscall(298, attribute, 0, -1, -1, 0))


def namespace(flag):
    def unshare(_):
        reader, writer = os.pipe()
        if os.fork() == 0:
            if libc.unshare(flag) != 0:
                unsupported(os.strerror(ctypes.get_errno()))
            if os.fork() == 0:
                os.write(writer, b"x")
            wait()
        os.read(reader, 1)
        os.close(reader)
        os.close(writer)

    return unshare


def wait():
    while True:
        signal.pause()


things = {
    name.replace("_", "-"): thing
    for name, thing in globals().items()
    if callable(thing) and getattr(thing, "__module__", None) == "__main__"
}
for name, flag in {
    "pid": 0x20000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "user": 0x10000000,
    "ipc": 0x08000000,
    "hostname": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}.items():
    things["namespace-" + name] = namespace(flag)

things[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "/")
print("up", flush=True)
wait()
