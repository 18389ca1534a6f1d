import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { serverName } from './sample.ts';

export interface Target {
  readonly port: number;
  readonly ca: string;
}

/** Longer than anything the server waits for: a connection that is open then hangs. */
const hangMs = 15_000;

/** What came back until the connection ended; the statuses in their order. */
export interface Reply {
  readonly statuses: readonly number[];
  readonly text: string;
  readonly hung: boolean;
}

export async function openTls(target: Target): Promise<Socket> {
  return (await openTlsOver(target)).socket;
}

/** @returns also the connection below, which can be reset */
export async function openTlsOver(target: Target): Promise<{ readonly socket: Socket; readonly below: Socket }> {
  const below = await openTcp(target);
  const socket = connectTls({ socket: below, ca: target.ca, servername: serverName });
  await once(socket, 'secureConnect');
  // Before anybody reads its reply the other side may end it as well.
  socket.on('error', () => socket.destroy());
  return { socket, below };
}

export async function openTcp({ port }: Target): Promise<Socket> {
  const socket = connectTcp({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  return socket;
}

/** Reads until the other side ends or breaks the connection; an end in the middle is no fault of whoever attacks. */
export function replyOf(socket: Socket): Promise<Reply> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      socket.destroy();
    }, hangMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    // Reported by `close`, which follows; the server may break a connection that it refuses.
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.once('close', () => {
      clearTimeout(timer);
      const text = Buffer.concat(chunks).toString('latin1');
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, text, hung });
    });
  });
}

/** Writes all of it, at the pace of the other side, as long as that listens. */
export async function write(socket: Socket, parts: Iterable<string | Buffer>): Promise<void> {
  for (const part of parts) {
    if (socket.destroyed || !socket.writable) return;
    if (socket.write(part)) continue;
    const stop = new AbortController();
    const { signal } = stop;
    const ends = ['drain', 'close', 'error'].map((event) => once(socket, event, { signal }));
    await Promise.race(ends.map((end) => end.catch(() => undefined)));
    stop.abort();
  }
}

export function head(fields: Readonly<Record<string, string | number>>, line = 'POST /mutate HTTP/1.1'): string {
  const all = { host: 'x', connection: 'close', 'content-type': 'application/json', ...fields };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `${[line, ...lines].join('\r\n')}\r\n\r\n`;
}

/** One request as it is sent, with the length that its body has. */
export function request(body: string | Buffer, fields: Readonly<Record<string, string>> = {}, line?: string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(head({ 'content-length': bytes.length, ...fields }, line)), bytes]);
}
