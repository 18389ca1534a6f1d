import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Attack, answeredOrRefused, good, mutated, number, pick, refused, send } from './attack.ts';
import { head, openTcp, openTls, openTlsOver, type Reply, replyOf, request, type Target, write } from './wire.ts';

const megabyte = Buffer.alloc(1 << 20, 0x20);

/** Byte after byte, until the server has had enough. */
async function trickle(target: Target, text: string, everyMs: number): Promise<Reply> {
  const socket = await openTls(target);
  const reply = replyOf(socket);
  for (const letter of text) {
    if (socket.destroyed || !socket.writable) break;
    socket.write(letter);
    await delay(everyMs);
  }
  return reply;
}

/** Longer than a request may take, shorter than an API server keeps a connection. */
const silenceMs = 7_000;

/** An API server may open a connection long before it uses it; it must not find that it has ended. */
async function askLate(target: Target): Promise<Reply> {
  const socket = await openTls(target);
  const reply = replyOf(socket);
  await delay(silenceMs);
  await write(socket, [request(good())]);
  if ((await reply).statuses.length === 0) throw new Error('it was ended before it was used');
  return reply;
}

/** What a connection, a head or a length may do wrong. */
export const attacksByConnection: Readonly<Record<string, Attack>> = {
  'length declared too large': {
    run: (target, random) => send(target, head({ 'content-length': pick(random, [9_000_000, 2 ** 31, 2 ** 52]) }), '{'),
    allows: refused,
  },
  'length declared nonsense': {
    run: (target, random) =>
      send(target, head({ 'content-length': pick(random, ['-1', '1e9', '0x10', '', '1, 2']) }), '{}'),
    allows: refused,
  },
  'body too large in chunks': {
    run: (target) => {
      const chunk = Buffer.concat([Buffer.from('100000\r\n'), megabyte, Buffer.from('\r\n')]);
      return send(
        target,
        head({ 'transfer-encoding': 'chunked' }),
        ...Array.from({ length: 9 }, () => chunk),
        '0\r\n\r\n',
      );
    },
    allows: refused,
  },
  'packed bomb': {
    run: (target) => send(target, request(gzipSync(Buffer.alloc(64 << 20)), { 'content-encoding': 'gzip' })),
    allows: refused,
  },
  'packing that is none': {
    run: (target, random) => {
      const encoding = pick(random, ['gzip', 'deflate', 'br', 'zstd', 'compress']);
      return send(target, request(mutated(random), { 'content-encoding': encoding }));
    },
    allows: refused,
  },
  'body trickled': {
    run: (target) => trickle(target, head({ 'content-length': 1000 }) + '{"a":'.padEnd(900), 20),
    allows: refused,
  },
  'head trickled': { run: (target) => trickle(target, head({}).repeat(9), 60), allows: refused },
  'body never sent': { run: (target) => send(target, head({ 'content-length': 100 })), allows: refused },
  'nothing sent for long': { run: askLate, allows: (status) => status === 200 },
  'wrong content type': {
    run: (target, random) => {
      const type = pick(random, [
        'text/plain',
        'application/yaml',
        'application/vnd.kubernetes.protobuf',
        '',
        'application/json+x',
        ';',
      ]);
      return send(target, request(good(), { 'content-type': type }));
    },
    allows: refused,
  },
  'another charset': {
    run: (target, random) => {
      const type = `application/json; charset=${pick(random, ['utf-16', 'latin1', 'x', '"', ''])}`;
      return send(target, request(good(), { 'content-type': type }));
    },
    allows: answeredOrRefused,
  },
  'wrong method or path': {
    run: (target, random) => {
      const line = pick(random, [
        'PUT /mutate HTTP/1.1',
        'DELETE /mutate HTTP/1.1',
        'OPTIONS * HTTP/1.1',
        'POST /mutate/../x HTTP/1.1',
        'POST /%00 HTTP/1.1',
        'POST /%zz HTTP/1.1',
        'BREW /mutate HTTP/1.1',
        `POST /${'a'.repeat(10_000)} HTTP/1.1`,
        'POST /mutate HTTP/9.9',
        'CONNECT x:443 HTTP/1.1',
      ]);
      return send(target, request(good(), {}, line));
    },
    allows: refused,
  },
  'large heads': {
    run: (target, random) => {
      const fields = Object.fromEntries(
        Array.from({ length: number(random, 10, 3000) }, (_, index) => [`x-${index}`, 'y'.repeat(100)]),
      );
      return send(target, head(fields));
    },
    allows: refused,
  },
  'two lengths (smuggling)': {
    run: (target) =>
      send(target, head({ 'content-length': 4, 'transfer-encoding': 'chunked' }), '0\r\n\r\nGET /x HTTP/1.1\r\n\r\n'),
    allows: refused,
  },
  'bad and good pipelined': {
    run: async (target) => {
      const keep = { connection: 'keep-alive' };
      const parts = [request(good(), keep), request(good(), keep), request('{', {})];
      const reply = await send(target, Buffer.concat(parts));
      return reply.statuses.join() === '200,200,400' ? reply : { ...reply, statuses: [0] };
    },
    allows: answeredOrRefused,
  },
  'upgrade and expectation': {
    run: (target, random) =>
      send(
        target,
        request(
          good(),
          pick(random, [
            { expect: '100-continue' },
            { expect: 'the-impossible' },
            { upgrade: 'h2c', connection: 'upgrade, close' },
          ]),
        ),
      ),
    allows: (status) => status === 100 || answeredOrRefused(status),
  },
  'reset in mid-body': {
    run: async (target, random) => {
      const { socket, below } = await openTlsOver(target);
      const reply = replyOf(socket);
      const text = request(good());
      await write(socket, [text.subarray(0, number(random, 1, text.length))]);
      if (random() < 0.5) socket.destroy();
      else below.resetAndDestroy();
      return reply;
    },
    allows: () => false,
  },
  'reset before the answer': {
    run: async (target) => {
      const { socket, below } = await openTlsOver(target);
      const reply = replyOf(socket);
      await write(
        socket,
        Array.from({ length: 20 }, () => request(good(), { connection: 'keep-alive' })),
      );
      below.resetAndDestroy();
      return reply;
    },
    allows: answeredOrRefused,
  },
  'no TLS': {
    run: async (target, random) => {
      const socket = await openTcp(target);
      const reply = replyOf(socket);
      const noise = Buffer.from(Array.from({ length: number(random, 1, 4096) }, () => number(random, 0, 256)));
      await write(socket, [pick(random, [noise, Buffer.from(head({})), Buffer.from([0x16, 3, 1, 2, 0, 1, 0])])]);
      return reply;
    },
    allows: refused,
  },
  'many connections': {
    run: async (target, random) => {
      const sockets = await Promise.all(Array.from({ length: number(random, 10, 60) }, () => openTls(target)));
      const replies = sockets.map(replyOf);
      for (const socket of sockets) if (random() < 0.5) socket.write(head({ 'content-length': 10 }));
      for (const socket of sockets) socket.destroy();
      const all = await Promise.all(replies);
      return { statuses: all.flatMap(({ statuses }) => statuses), text: '', hung: all.some(({ hung }) => hung) };
    },
    allows: refused,
  },
};
