import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

/** Two connected stream sockets: ours, unread, and the one that plays CRIU. */
export async function socketPair(): Promise<{ ours: Socket; theirs: Socket }> {
  const path = join(tmpdir(), `podferry-test-${randomUUID()}`);
  const server = createServer({ pauseOnConnect: true });
  server.listen(path);
  await once(server, 'listening');
  const theirs = connect(path);
  const [ours] = (await once(server, 'connection')) as [Socket];
  server.close();
  return { ours, theirs };
}

/** Collects exactly that many bytes. */
export async function readBytes(socket: Socket, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let left = bytes;
  while (left > 0) {
    const part = socket.read(Math.min(left, socket.readableLength)) as Buffer | null;
    if (part === null) {
      await once(socket, 'readable', { signal: AbortSignal.timeout(5_000) });
      continue;
    }
    parts.push(part);
    left -= part.byteLength;
  }
  return Buffer.concat(parts);
}
