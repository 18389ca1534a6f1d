import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import { MemoryStore } from './store.ts';

/** A store whose reads can be delayed, held back one by one, and made to fail. */
export class GatedStore extends MemoryStore {
  delayMs = 0;
  /** As if the source of a move had sent it. */
  isDirect = (_key: string): boolean => false;
  /** Begun so far. */
  reads = 0;
  #isOpen = true;
  #passes = 0;
  #failures = 0;
  readonly #waiting: (() => void)[] = [];

  override async read(key: string, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void> {
    await this.#pass(key, signal);
    await super.read(key, target, bytes, signal);
  }

  override async readRange(
    key: string,
    offset: number,
    target: Uint8Array,
    bytes: number,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#pass(key, signal);
    await super.readRange(key, offset, target, bytes, signal);
  }

  async #pass(key: string, signal: AbortSignal): Promise<void> {
    this.reads += 1;
    if (this.delayMs > 0) await delay(this.delayMs, undefined, { signal });
    while (!this.#isOpen && this.#passes === 0 && this.#failures === 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      signal.throwIfAborted();
    }
    if (this.#passes > 0) this.#passes -= 1;
    else if (this.#failures > 0) {
      this.#failures -= 1;
      throw new PodferryError('STORE_READ_FAILED', `reading ${key} broke off`, { key });
    }
  }

  /** Reads that are held back now. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Holds further reads back. */
  close(): void {
    this.#isOpen = false;
    this.#passes = 0;
  }

  open(): void {
    this.#isOpen = true;
    this.#wake();
  }

  /** Lets so many more reads through. */
  letThrough(count: number): void {
    this.#passes += count;
    this.#wake();
  }

  /** The next read that is not let through fails. */
  failNext(): void {
    this.#failures += 1;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
