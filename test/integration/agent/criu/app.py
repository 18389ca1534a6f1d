"""An application to be moved: argv[1] MiB of random memory, threads, a child. On SIGUSR1 both processes print a line that
holds a digest of their memory and of what their threads have counted; it begins with the process' role.
argv[2]: a user id to become; argv[3] `filtered`: no new privileges, and a seccomp filter as container runtimes install it."""
import ctypes, hashlib, os, signal, struct, sys, threading, time

MIB = int(sys.argv[1])
THREADS = 4
uid = int(sys.argv[2]) if len(sys.argv) > 2 else 0
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def refuse(*numbers):
    """Installs a seccomp filter under which these system calls fail with EPERM."""
    load_number, jump_if_equal, give = 0x20, 0x15, 0x06
    program = [(load_number, 0, 0, 0)]
    for i, number in enumerate(numbers):
        program.append((jump_if_equal, len(numbers) - i, 0, number))
    program += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050001)]
    code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0, 'PR_SET_NO_NEW_PRIVS'
    assert libc.prctl(22, 2, header, 0, 0) == 0, f'PR_SET_SECCOMP {ctypes.get_errno()}'


if len(sys.argv) > 3 and sys.argv[3] == 'filtered':
    ptrace, userfaultfd, kcmp, process_vm_readv = 101, 323, 312, 310
    refuse(ptrace, userfaultfd, kcmp, process_vm_readv)

memory = [bytearray(os.urandom(1 << 20)) for _ in range(MIB)]
zeroes = bytearray(4 << 20)
for i in range(0, len(zeroes), 4096):
    zeroes[i] = 0
seen = [0] * THREADS
role = 'root'


def digest():
    h = hashlib.sha256()
    for part in memory:
        h.update(part)
    h.update(zeroes)
    return h.hexdigest()


def count(i):
    while True:
        seen[i] += 1
        time.sleep(0.01)


def say(word):
    sys.stdout.write(f'{role} {word} {digest()} {" ".join(map(str, seen))}\n')
    sys.stdout.flush()


def on_usr1(_signal, _frame):
    say('sum')


signal.signal(signal.SIGUSR1, on_usr1)
if os.fork() == 0:
    role = 'child'
    memory[0][0:16] = b'only in the child'[:16]
for i in range(THREADS):
    threading.Thread(target=count, args=(i,), daemon=True).start()
say('up')
while True:
    time.sleep(0.05)
