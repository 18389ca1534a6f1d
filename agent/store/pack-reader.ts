import { PodferryError } from '../../proto/errors.ts';
import { hashPages } from '../memory/page-hasher.ts';
import { pageBytes } from '../pages/page-size.ts';
import { areaOf, marginBytes, type BufferPool } from './buffer-pool.ts';
import { inlineFrames, type Frames, type SealedPlace } from './frame-threads.ts';
import { frameBytes, openFrame, packKey, packName, rawBytesOfFrame, type PackKey } from './frames.ts';
import { sealedBytes, type Extent, type Pack } from './manifest.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

const readAheadOfParts = 4;

/** A pack that is in memory or on its way there. */
interface Slot {
  readonly index: number;
  readonly buffer: Buffer;
  /** Resolves to the pack's bytes once they were opened. */
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
  readonly sealing: Sealing;
  /** Who opens whole packs; by default the caller's thread. The caller closes it. */
  readonly frames?: Frames;
  /** Gets the hashes of the pages of what is read, once it was opened. */
  readonly hashing?: PageHashing;
  readonly signal: AbortSignal;
}

export interface PageHashing {
  readonly seed: bigint;
  /** @param hashes two words for each whole page, from page `first` of the pack on */
  add(pack: Pack, first: number, hashes: Int32Array): void;
}

const corrupt = ({ key }: Pack, frame: number): PodferryError =>
  new PodferryError('OBJECT_CORRUPT', `frame ${frame} of ${key} is not what was stored`, { key, frame });

const roomForHashes = (bytes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(Math.floor(bytes / pageBytes) * BigInt64Array.BYTES_PER_ELEMENT);

/** Where a pack that the store has in memory can be opened from without a copy. */
function placeOf(held: Buffer | undefined, bytes: number): SealedPlace | undefined {
  if (held?.byteLength !== bytes || !(held.buffer instanceof SharedArrayBuffer)) return undefined;
  return { area: held.buffer, at: held.byteOffset, bytes };
}

/** Reads packs of a checkpoint, ahead when told to. No byte of a pack is given out before its seal was checked. */
export class PackReader {
  readonly #options: PackReaderOptions;
  /** Least recently used first. */
  readonly #slots = new Map<number, Slot>();
  readonly #wakes: (() => void)[] = [];
  readonly #keys = new Map<number, PackKey>();
  #readBytes = 0;

  constructor(options: PackReaderOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  /** How many packs fit in memory. */
  get capacity(): number {
    return this.#options.pool.count;
  }

  /** Whether a pack was sent here by the source of the move. */
  isDirect(index: number): boolean {
    return this.#options.store.isDirect?.(this.#pack(index).key) === true;
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

  /**
   * One frame of a pack (256 KiB, see frameBytes), read by itself: for somebody who waits for a page of a pack that is not in memory.
   * The buffer is the caller's.
   * @throws PodferryError as hold
   */
  async frame(index: number, frame: number): Promise<Buffer> {
    const { store, signal, hashing } = this.#options;
    const pack = this.#pack(index);
    const length = pack.frames[frame];
    if (length === undefined) throw new PodferryError('MANIFEST_INVALID', `${pack.key} has no frame ${frame}`);
    const offset = pack.frames.slice(0, frame).reduce((sum, next) => sum + next, 0);
    const sealed = Buffer.allocUnsafe(length);
    await store.readRange(pack.key, offset, sealed, length, signal);
    const rawBytes = rawBytesOfFrame(pack.bytes, frame);
    const target = Buffer.allocUnsafeSlow(rawBytes);
    if (!openFrame(this.#keyOf(index), frame, sealed, rawBytes, target)) throw corrupt(pack, frame);
    this.#readBytes += length;
    if (hashing !== undefined) {
      const hashes = new Int32Array(roomForHashes(rawBytes));
      hashPages(target, hashing.seed, hashes);
      hashing.add(pack, (frame * frameBytes) / pageBytes, hashes);
    }
    return target;
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

  /** Deriving it costs more than opening a frame with it. */
  #keyOf(index: number): PackKey {
    const known = this.#keys.get(index);
    if (known !== undefined) return known;
    const key = packKey(this.#options.sealing, packName(this.#pack(index).key));
    this.#keys.set(index, key);
    return key;
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  async #someRelease(): Promise<void> {
    await new Promise<void>((resolve) => this.#wakes.push(resolve));
  }

  #load(index: number, isNeeded: boolean): Slot | undefined {
    const pack = this.#pack(index);
    const buffer = this.#options.pool.take() ?? this.#evict(isNeeded);
    if (buffer === undefined) return undefined;
    const slot: Slot = {
      index,
      buffer,
      ready: this.#fetch(pack, this.#keyOf(index), buffer),
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

  #pack(index: number): Pack {
    const pack = this.#options.packs[index];
    if (pack === undefined) throw new PodferryError('MANIFEST_INVALID', `there is no pack ${index}`);
    return pack;
  }

  async #fetch(pack: Pack, key: PackKey, buffer: Buffer): Promise<Buffer> {
    const { store, signal, frames = inlineFrames, hashing } = this.#options;
    const area = areaOf(buffer);
    const bytes = sealedBytes(pack);
    const sealed = placeOf(store.held?.(pack.key), bytes);
    if (sealed === undefined) await store.read(pack.key, Buffer.from(area, area.byteLength - bytes), bytes, signal);
    const job = { key, area, rawAt: marginBytes, rawBytes: pack.bytes };
    const hash = hashing === undefined ? undefined : { seed: hashing.seed, hashes: roomForHashes(pack.bytes) };
    const badFrame = await frames.open({ ...job, frames: pack.frames, sealed, hashing: hash });
    if (badFrame !== undefined) throw corrupt(pack, badFrame);
    if (hash !== undefined) hashing?.add(pack, 0, new Int32Array(hash.hashes));
    this.#readBytes += bytes;
    return buffer.subarray(0, pack.bytes);
  }
}
