import { PodferryError } from '../../proto/errors.ts';
import type { BufferPool } from './buffer-pool.ts';
import { digestInThread } from './digest.ts';
import type { Extent, Pack } from './manifest.ts';
import type { Store } from './store.ts';

const readAheadOfParts = 4;

/** A pack that is in memory or on its way there. */
interface Slot {
  readonly index: number;
  readonly buffer: Buffer;
  /** Resolves to the pack's bytes once they have their digest. */
  readonly ready: Promise<Buffer>;
  holds: number;
  wasHeld: boolean;
  /** Nobody will need it again, as far as is known: the first to be given up. */
  isDone: boolean;
  settled: boolean;
}

export interface PackReaderOptions {
  readonly store: Store;
  readonly packs: readonly Pack[];
  /** Bounds the packs in memory; for this reader alone. */
  readonly pool: BufferPool;
  readonly signal: AbortSignal;
}

/** Reads packs of a checkpoint, ahead when told to. No byte of a pack is given out before its digest was checked. */
export class PackReader {
  readonly #options: PackReaderOptions;
  /** Least recently used first. */
  readonly #slots = new Map<number, Slot>();
  readonly #wakes: (() => void)[] = [];
  #readBytes = 0;

  constructor(options: PackReaderOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  /** How many packs fit in memory. */
  get capacity(): number {
    return this.#options.pool.count;
  }

  /** Bytes read from the store. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /**
   * The bytes of a pack; they stay until release() was called as often as hold().
   * @throws PodferryError OBJECT_CORRUPT | OBJECT_MISSING | STORE_*, or the signal's reason
   */
  async hold(index: number): Promise<Buffer> {
    for (;;) {
      this.#options.signal.throwIfAborted();
      const slot = this.#slots.get(index) ?? this.#load(index, true);
      if (slot !== undefined) {
        slot.holds += 1;
        slot.wasHeld = true;
        this.#slots.delete(index);
        this.#slots.set(index, slot);
        try {
          return await slot.ready;
        } catch (error) {
          this.release(index);
          throw error;
        }
      }
      await this.#someRelease();
    }
  }

  release(index: number): void {
    const slot = this.#slots.get(index);
    if (slot === undefined) return;
    slot.holds -= 1;
    if (slot.holds === 0) this.#wake();
  }

  /** Says that a pack is not needed any more, so that its memory may serve to read another one ahead. */
  done(index: number): void {
    const slot = this.#slots.get(index);
    if (slot !== undefined) slot.isDone = true;
  }

  /** Begins to read packs, in order, as far as memory allows without giving up one that is still needed. */
  prefetch(indices: Iterable<number>): void {
    for (const index of indices) {
      if (this.#slots.has(index)) continue;
      if (this.#load(index, false) === undefined) return;
    }
  }

  /** The bytes of extents, part by part; each part is valid until the next is asked for. */
  async *parts(extents: readonly Extent[]): AsyncGenerator<Buffer, void, undefined> {
    for (const [i, { pack, offset, bytes }] of extents.entries()) {
      this.prefetch(extents.slice(i, i + readAheadOfParts).map((next) => next.pack));
      const held = await this.hold(pack);
      try {
        yield held.subarray(offset, offset + bytes);
      } finally {
        this.release(pack);
        if (extents[i + 1]?.pack !== pack) this.done(pack);
      }
    }
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  async #someRelease(): Promise<void> {
    await new Promise<void>((resolve) => this.#wakes.push(resolve));
  }

  #load(index: number, isNeeded: boolean): Slot | undefined {
    const pack = this.#options.packs[index];
    if (pack === undefined) throw new PodferryError('MANIFEST_INVALID', `there is no pack ${index}`);
    const buffer = this.#options.pool.take() ?? this.#evict(isNeeded);
    if (buffer === undefined) return undefined;
    const slot: Slot = {
      index,
      buffer,
      ready: this.#fetch(pack, buffer),
      holds: 0,
      wasHeld: false,
      isDone: false,
      settled: false,
    };
    const settle = (): void => {
      slot.settled = true;
      this.#wake();
    };
    slot.ready.then(settle, settle);
    this.#slots.set(index, slot);
    return slot;
  }

  /** Gives up a pack that is done; when memory is needed at once also the one read furthest ahead, or not used for longest. */
  #evict(isNeeded: boolean): Buffer | undefined {
    const idle = [...this.#slots.values()].filter((slot) => slot.holds === 0 && slot.settled);
    const victim =
      idle.find((slot) => slot.isDone) ?? (isNeeded ? (idle.findLast((slot) => !slot.wasHeld) ?? idle[0]) : undefined);
    if (victim === undefined) return undefined;
    this.#slots.delete(victim.index);
    return victim.buffer;
  }

  async #fetch(pack: Pack, buffer: Buffer): Promise<Buffer> {
    const { store, signal } = this.#options;
    await store.read(pack.key, buffer, pack.bytes, signal);
    const bytes = buffer.subarray(0, pack.bytes);
    const digest = await digestInThread(bytes);
    if (digest !== pack.sha256) {
      throw new PodferryError('OBJECT_CORRUPT', `${pack.key} is not what was stored`, { key: pack.key });
    }
    this.#readBytes += pack.bytes;
    return bytes;
  }
}
