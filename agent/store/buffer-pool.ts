/**
 * Spare bytes on either side of each buffer's content. Sealing lengthens a pack by a few bytes a frame and moves it towards the start of
 * the whole buffer; opening begins with the sealed pack at its end. So both work in place, with no second buffer.
 */
export const marginBytes = 4096;

/** The whole memory of a pool's buffer, margins included. @throws TypeError when it is none */
export function areaOf(buffer: Buffer): SharedArrayBuffer {
  if (buffer.buffer instanceof SharedArrayBuffer) return buffer.buffer;
  throw new TypeError('the buffer is not of a pool');
}

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
      const buffer = this.#make();
      Buffer.from(areaOf(buffer)).fill(1);
      this.#free.push(buffer);
    }
  }

  /** A buffer, or undefined when all are in use. */
  take(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made === this.count) return undefined;
    this.#made += 1;
    return this.#make();
  }

  /** Shared, so that worker threads fill and seal it in place. */
  #make(): Buffer {
    return Buffer.from(new SharedArrayBuffer(this.bytes + 2 * marginBytes), marginBytes, this.bytes);
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
