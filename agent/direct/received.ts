import { setTimeout as delay } from 'node:timers/promises';
import type { FrameSink } from './frames.ts';

interface Entry {
  readonly body: Buffer;
  /** Resolves once all of it is there; with undefined when it never will be. */
  readonly whole: Promise<Buffer | undefined>;
  readonly settle: (body: Buffer | undefined) => void;
  isWhole: boolean;
}

/** The objects that the source has sent, kept in memory up to a bound; beyond it the oldest go. */
export class Received implements FrameSink {
  readonly #maxBytes: number;
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>();
  #heldBytes = 0;
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
    const body = Buffer.allocUnsafeSlow(bytes);
    this.#entries.set(key, { body, whole: promise, settle: resolve, isWhole: false });
    this.#heldBytes += bytes;
    return body;
  }

  end(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.isWhole = true;
    this.#bytes += entry.body.byteLength;
    entry.settle(entry.body);
  }

  /** It is there, or coming. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Without giving up what is there. */
  hasRoomFor(bytes: number): boolean {
    return this.#heldBytes + bytes <= this.#maxBytes;
  }

  /** Keeps an object that came another way, unless it has come meanwhile or there is no room. */
  add(key: string, body: Buffer): void {
    if (this.has(key) || !this.hasRoomFor(body.byteLength)) return;
    const whole = Promise.resolve(body);
    this.#entries.set(key, { body, whole, settle: () => undefined, isWhole: true });
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

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#heldBytes -= entry.body.byteLength;
    if (!entry.isWhole) entry.settle(undefined);
  }
}

function withResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
