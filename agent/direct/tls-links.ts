import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type tls from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { PodferryError, toPodferryError } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import { storeOver } from './direct-store.ts';
import { fillFromStore } from './fill.ts';
import { FrameReader } from './frames.ts';
import type { Store } from '../store/store.ts';
import type { DirectLinks } from './links.ts';
import { readMemoryBound } from './memory-bound.ts';
import { pskConnect, pskServer } from './psk.ts';
import { Received } from './received.ts';
import { Sender } from './sender.ts';
import { takeAhead } from './take-ahead.ts';

export interface LinkOptions {
  readonly log: Log;
  /** What a target keeps at most; without it: a share of the memory that is free when it begins to listen. */
  readonly maxBytes?: number;
  readonly connectMs?: number;
  /** Where connect() says nothing. */
  readonly patienceMs?: number;
  readonly graceMs?: number;
  /** A source that is silent this long in the middle of an object is not heard any more. */
  readonly idleMs?: number;
  /** Between looks into the store for what does not come directly. */
  readonly fillEveryMs?: number;
}

const fillLanes = 2;

interface Listening {
  readonly secret: Uint8Array;
  readonly server: tls.Server;
  readonly port: number;
  source: TLSSocket | undefined;
}

interface Connected {
  readonly secret: Uint8Array;
  readonly host: string;
  readonly port: number;
  readonly sender: Sender;
}

/** The real links: TLS with the secret of the move, over the pods' own network. */
export function createLinks(options: LinkOptions): DirectLinks {
  const { log, connectMs = 1_000, patienceMs = 100, graceMs = 3_000, idleMs = 5_000, fillEveryMs = 1_000 } = options;
  let target: Listening | undefined;
  /** Of a target, from whichever side. */
  let received: Received | undefined;
  let store: Store | undefined;
  let filling = new AbortController();
  let source: Connected | undefined;
  /** Of connections of this move that have ended. */
  let endedBytes = 0;

  const bytes = (): number => endedBytes + (received?.bytes ?? 0) + (source?.sender.bytes ?? 0);

  const end = (): void => {
    endedBytes = bytes();
    if (target !== undefined) {
      target.server.close();
      target.source?.destroy();
    }
    filling.abort();
    received?.clear();
    source?.sender.close();
    target = undefined;
    received = undefined;
    source = undefined;
  };

  const close = (): void => {
    end();
    endedBytes = 0;
  };

  const keep = async (): Promise<Received> =>
    (received ??= new Received(options.maxBytes ?? (await readMemoryBound())));

  const hear = (listening: Listening, kept: Received, socket: TLSSocket): void => {
    // the newest connection is the source's: an older one is what is left of a broken one
    listening.source?.destroy();
    kept.cutOff();
    listening.source = socket;
    const reader = new FrameReader({
      begin: (key, size) => kept.begin(key, size),
      end: (key) => kept.end(key),
      freezing: () => filling.abort(),
    });
    socket.setTimeout(idleMs, () => {
      if (reader.isInside) socket.destroy(new Error(`silent for ${idleMs} ms in the middle of an object`));
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk);
      } catch (error) {
        socket.destroy(toPodferryError(error, 'read what the source sends'));
      }
    });
    socket.on('error', (error) =>
      log.warn('the source sends nothing more; the store is asked', { ...errorFields(error), code: 'DIRECT_FAILED' }),
    );
    socket.on('close', () => {
      if (listening.source !== socket) return;
      listening.source = undefined;
      kept.cutOff();
    });
  };

  return {
    async listen(secret) {
      if (target !== undefined && isSame(target.secret, secret)) return target.port;
      close();
      try {
        const server = pskServer(secret);
        server.on('tlsClientError', (error) =>
          log.warn('a connection for pages was refused', { ...errorFields(error), code: 'DIRECT_FAILED' }),
        );
        server.listen(0);
        await once(server, 'listening');
        server.on('error', (error) => log.warn('listening for the source failed', errorFields(error)));
        const listening: Listening = {
          secret,
          server,
          port: (server.address() as AddressInfo).port,
          source: undefined,
        };
        const kept = await keep();
        server.on('secureConnection', (socket) => hear(listening, kept, socket));
        target = listening;
        return listening.port;
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new PodferryError('DIRECT_FAILED', `listen for the source: ${why}`, {}, { cause });
      }
    },

    async warm(prefix, find) {
      if (store === undefined) return;
      filling.abort();
      filling = new AbortController();
      const { signal } = filling;
      const kept = await keep();
      // Goes on by itself: the move does not wait for a store that is slow to say what it has.
      const into = { store, received: kept, lanes: fillLanes, signal, log };
      void fillFromStore({ ...into, prefix, everyMs: fillEveryMs });
      if (find !== undefined) void takeAhead({ ...into, find });
    },

    async connect(host, port, secret, { patienceMs: patience = patienceMs, isFreezing = false } = {}) {
      const is = source;
      const use = (sender: Sender): void => {
        sender.patienceMs = patience;
        if (isFreezing) sender.announceFreeze();
      };
      if (is?.sender.isOver === false && is.host === host && is.port === port && isSame(is.secret, secret)) {
        use(is.sender);
        return;
      }
      const isSameMove = is !== undefined && isSame(is.secret, secret);
      if (isSameMove) end();
      else close();
      const socket = await pskConnect(host, port, secret, connectMs);
      const sender = new Sender(socket, {
        graceMs,
        onFailure: (error) =>
          log.warn('the target gets no more pages from here; they are in the store', errorFields(error)),
      });
      use(sender);
      source = { host, port, secret, sender };
    },

    get port() {
      return target?.port ?? 0;
    },
    get bytes() {
      return bytes();
    },
    over(durable) {
      store = durable;
      return storeOver(durable, {
        sender: () => source?.sender,
        received: () => {
          // whoever reads is the restore, which shares the network with nobody
          if (!filling.signal.aborted) filling.abort();
          return received;
        },
      });
    },
    close,
  };
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
