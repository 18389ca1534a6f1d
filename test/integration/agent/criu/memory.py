"""Holds private memory and says what is in it. argv: MiB. SIGUSR1: print a digest. SIGUSR2: change some, print "changed"."""

import ctypes
import hashlib
import mmap
import os
import signal
import struct
import sys
import time

PAGE = 4096
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
size = int(sys.argv[1]) << 20
what = sys.argv[2] if len(sys.argv) > 2 else "some"
role = "root"
fresh = lambda length: mmap.mmap(-1, length, flags=PRIVATE)


def fill(area):
    for at in range(0, len(area), 1 << 20):
        area[at : at + (1 << 20)] = os.urandom(1 << 20)


areas = {"main": fresh(size), "zeroed": fresh(4 << 20), "gone": fresh(4 << 20), "again": fresh(4 << 20)}
if what == "shared":
    areas["shared"] = mmap.mmap(-1, 72 << 20)
if what == "locked":
    areas["locked"] = fresh(4 << 20)
for area in areas.values():
    fill(area)
if what == "locked":
    start = ctypes.addressof(ctypes.c_char.from_buffer(areas["locked"]))
    if ctypes.CDLL(None, use_errno=True).mlock(ctypes.c_void_p(start), ctypes.c_size_t(4 << 20)):
        raise OSError(ctypes.get_errno(), "mlock")
steps = 0
changes = 0


def say(*words):
    sys.stdout.write(" ".join(map(str, (role, *words))) + "\n")
    sys.stdout.flush()


def digest():
    whole = hashlib.sha256()
    for name in sorted(areas):
        whole.update(name.encode())
        whole.update(areas[name])
    return whole.hexdigest()


def verify():
    """In the mode "always" page p holds the last step that wrote it."""
    area, pages = areas["main"], size // PAGE
    wrong = 0
    for page in range(pages):
        expected = steps - (steps - page) % pages
        if expected > 0 and struct.unpack_from("<Q", area, page * PAGE)[0] != expected:
            wrong += 1
    return wrong


def on_usr1(*_):
    if what == "always":
        say("sum", "wrong", verify(), "steps", steps)
    else:
        say("sum", digest())


def on_usr2(*_):
    global role, changes
    area = areas["main"]
    changes += 1
    for at in range(changes * 7 % 50 * PAGE, size, 50 * PAGE):  # another 2 % each time
        struct.pack_into("<Q", area, at + 17, changes)
    if what == "all":
        areas["zeroed"][:] = bytes(len(areas["zeroed"]))
        areas.pop("gone").close()
        areas.pop("again").close()
        areas["again"] = fresh(6 << 20)
        fill(areas["again"])
        if os.fork() == 0:
            role = "child"
            area[PAGE * 3 : PAGE * 4] = b"c" * PAGE
            areas["again"][:PAGE] = bytes(PAGE)
    say("changed")


signal.signal(signal.SIGUSR1, on_usr1)
signal.signal(signal.SIGUSR2, on_usr2)
say("up")
while True:
    if what == "always":
        for _ in range(200):
            steps += 1
            struct.pack_into("<Q", areas["main"], steps % (size // PAGE) * PAGE, steps)
        time.sleep(0.001)
    else:
        time.sleep(1)
