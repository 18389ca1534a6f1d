"""memcached-client.py HOST fill|next|check: values that can be told from any other, and a sequence."""
import hashlib
import socket
import sys

KEYS = 5000
host, what = sys.argv[1:]
connection = socket.create_connection((host, 11211), timeout=20)
stream = connection.makefile('rwb')


def value(key):
    return hashlib.sha256(str(key).encode()).hexdigest() * 4


def ask(line, data=b''):
    stream.write(line.encode() + b'\r\n' + data)
    stream.flush()
    return stream.readline().strip().decode()


if what == 'fill':
    answers = {ask(f'set key{key} 0 0 {len(value(key))}', value(key).encode() + b'\r\n') for key in range(KEYS)}
    print('ok' if answers == {'STORED'} and ask('set sequence 0 0 1', b'0\r\n') == 'STORED' else f'not stored: {answers}')
elif what == 'next':
    print(ask('incr sequence 1'))
else:
    wrong = 0
    for key in range(KEYS):
        if not ask(f'get key{key}').startswith('VALUE'):
            wrong += 1
            continue
        wrong += stream.readline().strip().decode() != value(key)
        stream.readline()
    print('ok' if wrong == 0 else f'{wrong} of {KEYS} keys are wrong')
