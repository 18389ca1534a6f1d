import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/** What the proxy knows of a request when it decides on its fate. */
export interface ProxiedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** Counts all requests from 0. */
  readonly nth: number;
}

/**
 * What goes wrong with one request: no answer and a closed connection; a reset, or silence for ever, after so many bytes of the
 * answer's body (of the request's body with `of: 'request'`); one flipped bit in a byte of the body.
 */
export type Fault =
  | { readonly kind: 'drop' }
  | { readonly kind: 'reset' | 'stall' | 'corrupt'; readonly at: number; readonly of?: 'request' | 'answer' };

export interface FaultProxyOptions {
  /** `http://host:port` of the store. */
  readonly upstream: string;
  /** Before each request goes on. */
  readonly latencyMs?: number;
  /** Seed of the random numbers that `faultOf` gets, so that a run can be repeated. */
  readonly seed?: number;
  /** undefined: nothing goes wrong. */
  readonly faultOf?: (request: ProxiedRequest, random: () => number) => Fault | undefined;
}

export interface FaultProxy {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  /** Requests seen. */
  readonly requests: number;
  /** Faults that happened; one beyond the end of a body does not. */
  readonly faults: number;
  close(): Promise<void>;
}

/** Evenly distributed in [0, 1[ (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const headEnd = '\r\n\r\n';
const maxHeadBytes = 64 * 1024;
const interim = /^HTTP\/1\.1 1\d\d /;

/** Finds where the body of a message begins. Its head may come in parts. */
class BodyCounter {
  #head: string | undefined = '';
  #seen = 0;

  /** How much of the chunk is head, and how much of the body came before it. */
  take(chunk: Buffer): { readonly headBytes: number; readonly bodyBefore: number } {
    const bodyBefore = this.#seen;
    let headBytes = 0;
    while (this.#head !== undefined && headBytes < chunk.byteLength) {
      const before = this.#head.length;
      const text = this.#head + chunk.toString('latin1', headBytes);
      const end = text.indexOf(headEnd);
      if (end < 0 && text.length < maxHeadBytes) {
        this.#head = text;
        return { headBytes: chunk.byteLength, bodyBefore };
      }
      headBytes += end < 0 ? 0 : end + headEnd.length - before;
      // "100 Continue" is followed by the head of the answer itself.
      this.#head = interim.test(text) ? '' : undefined;
    }
    this.#seen += chunk.byteLength - headBytes;
    return { headBytes, bodyBefore };
  }
}

/** What becomes of a chunk, and whether the fault lies in it. */
function suffer(fault: Fault | undefined, counter: BodyCounter, chunk: Buffer): { chunk: Buffer; struck: boolean } {
  const { headBytes, bodyBefore } = counter.take(chunk);
  if (fault === undefined || fault.kind === 'drop') return { chunk, struck: false };
  const at = headBytes + fault.at - bodyBefore;
  const isHere = at >= headBytes && at < chunk.byteLength;
  if (!isHere) return { chunk, struck: false };
  if (fault.kind !== 'corrupt') return { chunk: chunk.subarray(0, at), struck: true };
  const changed = Buffer.from(chunk);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return { chunk: changed, struck: true };
}

const requestLine = /^([A-Z]+) (\S+) HTTP\/1\.1\r\n/;

/**
 * A proxy on loopback that passes HTTP/1.1 through byte by byte (so that signatures, which cover the Host header that the client
 * sent, stay valid), but late, and with faults. Clients must not pipeline.
 */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const upstream = new URL(options.upstream);
  const random = randomNumbers(options.seed ?? 1);
  const sockets = new Set<Socket>();
  const count = { requests: 0, faults: 0 };

  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };

  const serve = (client: Socket): void => {
    const server = keep(connect(Number(upstream.port || 80), upstream.hostname));
    let fault: Fault | undefined;
    let counters = { request: new BodyCounter(), answer: new BodyCounter() };
    let isAnswered = true;
    let isSilent = false;

    /** Passes a chunk on, as the fault wants it; the other end's pace is ours. */
    const pass = (chunk: Buffer, direction: 'request' | 'answer'): void => {
      if (isSilent) return;
      const [from, to] = direction === 'request' ? [client, server] : [server, client];
      const applies = fault !== undefined && fault.kind !== 'drop' && (fault.of ?? 'answer') === direction;
      const result = suffer(applies ? fault : undefined, counters[direction], chunk);
      if (result.struck) count.faults += 1;
      if (result.struck && fault?.kind === 'stall') isSilent = true;
      if (result.struck && fault?.kind === 'reset') {
        // What came before the fault must arrive: a reset overtakes bytes that are still in the socket's buffer.
        isSilent = true;
        to.write(result.chunk, () => {
          client.resetAndDestroy();
          server.destroy();
        });
        return;
      }
      if (!to.write(result.chunk)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    };

    const begin = (method: string, path: string): void => {
      isAnswered = false;
      counters = { request: new BodyCounter(), answer: new BodyCounter() };
      fault = options.faultOf?.({ method, path, nth: count.requests }, random);
      count.requests += 1;
    };

    client.on('data', (chunk) => {
      const line = isAnswered ? requestLine.exec(chunk.toString('latin1', 0, 8192)) : null;
      if (line === null) return pass(chunk, 'request');
      begin(line[1] ?? '', line[2] ?? '');
      if (fault?.kind === 'drop') {
        count.faults += 1;
        client.destroy();
        return;
      }
      if (options.latencyMs === undefined) return pass(chunk, 'request');
      client.pause();
      setTimeout(() => {
        pass(chunk, 'request');
        client.resume();
      }, options.latencyMs);
    });
    server.on('data', (chunk) => {
      // Not an interim answer: the rest of the request follows that.
      if (!interim.test(chunk.toString('latin1', 0, 16))) isAnswered = true;
      pass(chunk, 'answer');
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on('end', () => {
        if (!isSilent) other.end();
      });
      // A failed end is a closed one: 'close' follows and ends the other.
      one.on('error', () => one.destroy());
      one.on('close', () => {
        if (!isSilent || one === client) other.destroy();
      });
    }
  };

  const listener = createServer((client) => serve(keep(client)));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    get requests() {
      return count.requests;
    },
    get faults() {
      return count.faults;
    },
    async close() {
      const closed = once(listener, 'close');
      listener.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
