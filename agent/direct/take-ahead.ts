import { setTimeout as delay } from 'node:timers/promises';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { Store } from '../store/store.ts';
import type { FindObjects } from './links.ts';
import type { Received } from './received.ts';

/** While something comes directly nothing else is asked for; then it is looked again. */
const politeMs = 10;

export interface TakeAheadOptions {
  readonly store: Store;
  /** Says which objects; the most wanted first. */
  readonly find: FindObjects;
  readonly received: Received;
  /** Objects read at a time. */
  readonly lanes: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Takes objects that are stored already into memory, as many as there is room for; what the source sends goes first. What cannot be had ahead is read
 * when it is needed, so a failure only ends this, and it never rejects.
 */
export async function takeAhead(options: TakeAheadOptions): Promise<void> {
  const { store, find, received, lanes, signal, log } = options;
  const stopping = new AbortController();
  const either = AbortSignal.any([signal, stopping.signal]);
  try {
    const wanted = [...(await find(store, either))];
    const lane = async (): Promise<void> => {
      for (let next = wanted.shift(); next !== undefined; next = wanted.shift()) {
        while (received.isReceiving) await delay(politeMs, undefined, { signal: either });
        const { key, bytes } = next;
        if (received.has(key) || !received.hasRoomFor(bytes)) continue;
        const body = Buffer.from(new SharedArrayBuffer(bytes)); // threads open it where it lies
        await store.read(key, body, bytes, either);
        received.add(key, body);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  } catch (error) {
    if (!signal.aborted) log.warn('the last checkpoint is not taken into memory ahead', errorFields(error));
  } finally {
    // The other lanes.
    stopping.abort();
  }
}
