"""GET /next: the next number, made by worker processes over pipes and kept in shared memory; GET /check looks at all of it."""
import hashlib
import mmap
import multiprocessing
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

WORKERS = 3
COUNTERS = 8


def work(pipe, shared, lock, slot):
    memory = os.urandom(16 << 20)
    digest = hashlib.sha256(memory).hexdigest()
    while True:
        asked = pipe.recv()
        if asked == 'next':
            with lock:
                total = int.from_bytes(shared[0:8], 'little') + 1
                shared[0:8] = total.to_bytes(8, 'little')
            own = COUNTERS * (slot + 1)
            shared[own:own + 8] = (int.from_bytes(shared[own:own + 8], 'little') + 1).to_bytes(8, 'little')
            pipe.send(total)
        else:
            pipe.send(hashlib.sha256(memory).hexdigest() == digest)


def main():
    shared = mmap.mmap(-1, 1 << 20)
    lock = multiprocessing.Lock()
    pipes = []
    for slot in range(WORKERS):
        here, there = multiprocessing.Pipe()
        multiprocessing.Process(target=work, args=(there, shared, lock, slot), daemon=True).start()
        pipes.append(here)
    turn = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            nonlocal turn
            if self.path == '/next':
                turn += 1
                pipe = pipes[turn % WORKERS]
                pipe.send('next')
                body = f'{pipe.recv()}\n'
            else:
                whole = True
                for pipe in pipes:
                    pipe.send('check')
                    whole &= pipe.recv()
                counts = [int.from_bytes(shared[i * 8:i * 8 + 8], 'little') for i in range(WORKERS + 1)]
                body = 'ok\n' if whole and counts[0] == sum(counts[1:]) else 'damaged\n'
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    HTTPServer(('', 8080), Handler).serve_forever()


main()
