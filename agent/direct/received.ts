import { setTimeout as delay } from 'node:timers/promises';
import type { FrameSink } from './frames.ts';

interface Entry {
  readonly body: Buffer;
  /** Resolves once all of it is there; with undefined when it never will be. */
  readonly whole: Promise<Buffer | undefined>;
  readonly settle: (body: Buffer | undefined) => void;
  isWhole: boolean;
  /** It came from the source of the move. */
  readonly isDirect: boolean;
}

/**
 * Memory is taken from the system in pieces of this size, so that it can lie in huge pages: each start of a process copies the agent's page
 * tables, which with pages of 4 KiB holds the agent up for 70 ms per GiB.
 */
const slabBytes = 64 * 1024 * 1024;

/** The objects that the source has sent, kept in memory up to a bound; beyond it the oldest go. */
export class Received implements Omit<FrameSink, 'freezing'> {
  readonly #maxBytes: number;
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>();
  #slab: Buffer = Buffer.alloc(0);
  #slabUsed = 0;
  #heldBytes = 0;
  #coming = 0;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the objects that came whole and were kept. */
  get bytes(): number {
    return this.#bytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  begin(key: string, bytes: number): Buffer | undefined {
    this.#forget(key);
    if (bytes > this.#maxBytes) return undefined;
    for (const [oldest, entry] of this.#entries) {
      if (this.#heldBytes + bytes <= this.#maxBytes) break;
      if (entry.isWhole) this.#forget(oldest);
    }
    const { promise, resolve } = withResolver<Buffer | undefined>();
    const body = this.#allocate(bytes);
    this.#entries.set(key, { body, whole: promise, settle: resolve, isWhole: false, isDirect: true });
    this.#heldBytes += bytes;
    this.#coming += 1;
    return body;
  }

  end(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.isWhole) return;
    entry.isWhole = true;
    this.#coming -= 1;
    this.#bytes += entry.body.byteLength;
    entry.settle(entry.body);
  }

  /** Something is on its way here from the source. */
  get isReceiving(): boolean {
    return this.#coming > 0;
  }

  /** It is there, or coming. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** The object, if all of it is there. */
  held(key: string): Buffer | undefined {
    const entry = this.#entries.get(key);
    return entry?.isWhole === true ? entry.body : undefined;
  }

  /** The object is there, and came from the source of the move. */
  isDirect(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry?.isWhole === true && entry.isDirect;
  }

  /** Without giving up what is there. */
  hasRoomFor(bytes: number): boolean {
    return this.#heldBytes + bytes <= this.#maxBytes;
  }

  /** Keeps an object that came another way, unless it has come meanwhile or there is no room. */
  add(key: string, body: Buffer): void {
    if (this.has(key) || !this.hasRoomFor(body.byteLength)) return;
    const whole = Promise.resolve(body);
    this.#entries.set(key, { body, whole, settle: () => undefined, isWhole: true, isDirect: false });
    this.#heldBytes += body.byteLength;
  }

  /** The connection has ended: what has not come whole will not come. */
  cutOff(): void {
    for (const [key, entry] of this.#entries) if (!entry.isWhole) this.#forget(key);
  }

  /** The object when it is there, or comes within the time; undefined: ask the store. */
  async find(key: string, withinMs: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.isWhole) return entry?.body;
    const timer = new AbortController();
    const late = delay(withinMs, undefined, { signal: AbortSignal.any([signal, timer.signal]) }).catch(() => {
      signal.throwIfAborted();
      return undefined;
    });
    try {
      return await Promise.race([entry.whole, late]);
    } finally {
      timer.abort();
    }
  }

  clear(): void {
    for (const key of this.#entries.keys()) this.#forget(key);
  }

  /** Memory goes when all objects of its slab have gone, which is soon: the oldest go first. */
  #allocate(bytes: number): Buffer {
    if (this.#slab.byteLength - this.#slabUsed < bytes) {
      // Shared: threads open packs where they lie.
      this.#slab = Buffer.from(new SharedArrayBuffer(Math.max(bytes, Math.min(slabBytes, this.#maxBytes))));
      this.#slabUsed = 0;
    }
    const body = this.#slab.subarray(this.#slabUsed, this.#slabUsed + bytes);
    this.#slabUsed += bytes;
    return body;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#heldBytes -= entry.body.byteLength;
    if (entry.isWhole) return;
    this.#coming -= 1;
    entry.settle(undefined);
  }
}

function withResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
