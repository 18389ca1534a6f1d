import type { Store } from '../store/store.ts';
import type { Received } from './received.ts';
import type { Sender } from './sender.ts';

export interface Ends {
  /** While this is the source of a move, and connected. */
  sender(): Sender | undefined;
  /** While this is the target of a move; asked for by whoever reads. */
  received(): Received | undefined;
}

/** An object that has begun to come is waited for this long; then the store is asked. */
const arrivalMs = 2_000;
/** Whoever reads a part of one waits for a few pages, and the store is quick with those. */
const partArrivalMs = 50;

/**
 * A store whose writes also go to the other agent, and whose reads are answered from what the other agent sent. What is
 * durable, and every error, is the store's word alone: the connection adds nothing but speed.
 */
export function storeOver(store: Store, ends: Ends): Store {
  const alsoSent = async (key: string, body: Uint8Array, stored: Promise<void>): Promise<void> => {
    const sending = ends.sender()?.send(key, body);
    try {
      await stored;
    } finally {
      // the caller uses the bytes' memory again as soon as this resolves
      await sending?.settle();
    }
  };
  const arrived = async (key: string, signal: AbortSignal, withinMs = arrivalMs): Promise<Buffer | undefined> =>
    ends.received()?.find(key, withinMs, signal);
  return {
    put: (key, body, options) => alsoSent(key, body, store.put(key, body, options)),
    putOnce: (key, body, options) => alsoSent(key, body, store.putOnce(key, body, options)),
    async read(key, target, bytes, signal) {
      const body = await arrived(key, signal);
      if (body?.byteLength !== bytes) return store.read(key, target, bytes, signal);
      target.set(body);
    },
    held: (key) => ends.received()?.held(key),
    isDirect: (key) => ends.received()?.isDirect(key) === true,
    async get(key, maxBytes, signal) {
      const body = await arrived(key, signal);
      return body === undefined || body.byteLength > maxBytes ? store.get(key, maxBytes, signal) : body;
    },
    async readRange(key, offset, target, bytes, signal) {
      const body = await arrived(key, signal, partArrivalMs);
      if (body === undefined || body.byteLength < offset + bytes) {
        return store.readRange(key, offset, target, bytes, signal);
      }
      target.set(body.subarray(offset, offset + bytes));
    },
    list: (prefix, signal) => store.list(prefix, signal),
    delete: (keys, signal) => store.delete(keys, signal),
  };
}
