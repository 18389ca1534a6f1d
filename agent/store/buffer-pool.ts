/**
 * A fixed number of equal buffers, which bounds the memory of a transfer: whoever finds none waits.
 * Buffers are made on first use, or all at once by warm(); they go with the pool.
 */
export class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #waiting: (() => void)[] = [];
  #made = 0;

  constructor(
    readonly count: number,
    readonly bytes: number,
  ) {}

  /** Makes all buffers and touches each page, so that no first-touch faults fall into a freeze. */
  warm(): void {
    while (this.#made < this.count) {
      this.#made += 1;
      this.#free.push(Buffer.allocUnsafeSlow(this.bytes).fill(1));
    }
  }

  /** A buffer, or undefined when all are in use. */
  take(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made === this.count) return undefined;
    this.#made += 1;
    return Buffer.allocUnsafeSlow(this.bytes);
  }

  give(buffer: Buffer): void {
    this.#free.push(buffer);
    this.#waiting.shift()?.();
  }

  /** Calls back once, soon after a buffer may be free: try take() again, another may have been quicker. */
  whenFree(call: () => void): void {
    if (this.#free.length > 0 || this.#made < this.count) queueMicrotask(call);
    else this.#waiting.push(call);
  }
}
