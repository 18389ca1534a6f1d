import { setTimeout as delay } from 'node:timers/promises';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { Store } from '../store/store.ts';
import type { Received } from './received.ts';

export interface FillOptions {
  readonly store: Store;
  /** Of the objects that are worth having. */
  readonly prefix: string;
  readonly received: Received;
  readonly everyMs: number;
  /** Objects read at a time. */
  readonly lanes: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Until the signal, takes into memory what appears in the store from now on and does not come directly: an object is left to
 * the connection for one look. What cannot be had ahead is read when it is needed, so a failure only ends this.
 */
export async function fillFromStore(options: FillOptions): Promise<void> {
  try {
    await follow(options);
  } catch (error) {
    if (!options.signal.aborted) options.log.warn('nothing more is read ahead from the store', errorFields(error));
  }
}

async function follow({ store, prefix, received, everyMs, lanes, signal }: FillOptions): Promise<void> {
  const old = new Set<string>();
  for await (const { key } of store.list(prefix, signal)) old.add(key);
  const seen = new Map<string, number>();
  for (;;) {
    await delay(everyMs, undefined, { signal });
    const due = [...seen].filter(([key]) => !received.has(key));
    for (const [key] of seen) old.add(key);
    seen.clear();
    for await (const { key, bytes } of store.list(prefix, signal)) {
      if (!old.has(key) && !received.has(key)) seen.set(key, bytes);
    }
    const lane = async (): Promise<void> => {
      for (let next = due.shift(); next !== undefined; next = due.shift()) {
        const [key, bytes] = next;
        if (!received.hasRoomFor(bytes)) continue;
        const body = Buffer.from(new SharedArrayBuffer(bytes)); // threads open it where it lies
        await store.read(key, body, bytes, signal);
        received.add(key, body);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }
}
