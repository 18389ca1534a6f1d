"""The application that the demo and the e2e tests move: its own witness that nothing is lost.

Holds MEMORY_MIB of random bytes with a known hash, THREADS threads and a child process that count, a log line every
20 ms on stdout and the same number in a file that it keeps open in the container's writable layer.
HTTP on 8080: /status /check (hashes the memory) /file (numbers in the file) /proc (uid, caps, cgroup) /exit/N /alloc/MIB
"""

import hashlib
import http.server
import json
import os
import signal
import sys
import threading
import time

THREADS = int(os.environ.get("THREADS", "3"))
FILE = os.environ.get("COUNTER_FILE", "/var/lib/counter/numbers")

thread_counts = [0] * THREADS
state = {"count": 0, "gapsMs": []}
held = []


def count_in_thread(index):
    while True:
        thread_counts[index] += 1
        time.sleep(0.01)


def start_child():
    """A child with memory of its own; answers each byte on its pipe with its count and whether its memory is whole."""
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    pid = os.fork()
    if pid:
        os.close(to_child)
        os.close(from_child)
        return pid, from_parent, to_parent
    os.close(from_parent)
    os.close(to_parent)
    own = os.urandom(4 << 20)
    digest = hashlib.sha256(own).hexdigest()
    count = 0
    while os.read(to_child, 1):
        count += 1
        intact = hashlib.sha256(own).hexdigest() == digest
        os.write(from_child, json.dumps({"asked": count, "intact": intact}).encode() + b"\n")
    os._exit(0)


child_pid, child_in, child_out = start_child()  # before the memory is there, or it would hold a copy
MEMORY = os.urandom(int(os.environ.get("MEMORY_MIB", "64")) << 20)
DIGEST = hashlib.sha256(MEMORY).hexdigest()
child_lock = threading.Lock()


def ask_child():
    with child_lock:
        os.write(child_in, b"?")
        return {"pid": child_pid, **json.loads(os.read(child_out, 4096))}


def count_forever():
    os.makedirs(os.path.dirname(FILE), exist_ok=True)
    with open(FILE, "a", buffering=1) as numbers:
        last = time.time()  # the wall clock: the monotonic one stands still while the process is frozen
        while True:
            state["count"] += 1
            now = time.time()
            gap = round((now - last) * 1000)
            last = now
            if gap > 100:
                state["gapsMs"].append(gap)
            print(f"count {state['count']} pid {os.getpid()} at {now:.3f}", flush=True)
            numbers.write(f"{state['count']}\n")
            time.sleep(0.02)


def proc_facts():
    with open("/proc/self/status") as status:
        wanted = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "Seccomp", "NoNewPrivs", "Threads")
        facts = {k: v.strip() for k, v in (line.split(":", 1) for line in status) if k in wanted}
    with open("/proc/self/cgroup") as cgroup:
        return {**facts, "cgroup": cgroup.read(), "cwd": os.getcwd(), "hostname": os.uname().nodename}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, argument = self.path[1:].partition("/")
        if path == "exit":
            os._exit(int(argument))
        answers = {
            "status": lambda: {
                "count": state["count"],
                "gapsMs": state["gapsMs"],
                "pid": os.getpid(),
                "threads": thread_counts,
                "liveThreads": threading.active_count(),
                "child": ask_child(),
                "digest": DIGEST,
            },
            "check": lambda: {"intact": hashlib.sha256(MEMORY).hexdigest() == DIGEST, "digest": DIGEST},
            "file": lambda: {"numbers": [int(line) for line in open(FILE)]},
            "proc": proc_facts,
            "alloc": lambda: {"held": len(held.append(os.urandom(int(argument) << 20)) or held)},
            "healthz": lambda: {"ok": True},
        }
        if path not in answers:
            self.send_error(404)
            return
        body = json.dumps(answers[path]()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def on_term(*_):
    print("got SIGTERM, bye", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, on_term)
for i in range(THREADS):
    threading.Thread(target=count_in_thread, args=(i,), daemon=True).start()
threading.Thread(target=count_forever, daemon=True).start()
print(f"counter started, pid {os.getpid()}, {len(MEMORY) >> 20} MiB, sha256 {DIGEST[:16]}", file=sys.stderr, flush=True)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
