import { randomUUID } from 'node:crypto';
import { packObject } from '../../proto/store-layout.ts';
import { areaOf, marginBytes, type BufferPool } from './buffer-pool.ts';
import { inlineFrames, type Frames } from './frame-threads.ts';
import { packKey } from './frames.ts';
import type { Extent, Pack } from './manifest.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

/** What the packs of one checkpoint share. */
export interface PackUploadOptions {
  readonly store: Store;
  /** Of the instance, ending in a slash; packs go below `packs/`. */
  readonly keyPrefix: string;
  readonly pool: BufferPool;
  readonly sealing: Sealing;
  /** Who seals; by default the caller's thread. The caller closes it. */
  readonly frames?: Frames;
  /** Default: what is worth it is compressed. */
  readonly compresses?: boolean | undefined;
  /** Puts under way at a time. */
  readonly parallel: number;
  /** The checkpoint's; aborted puts end with it. */
  readonly signal: AbortSignal;
  /** Called with the first failure; nothing is written after it. */
  readonly fail: (error: unknown) => void;
}

interface OpenPack {
  readonly index: number;
  readonly buffer: Buffer;
}

/** Seals and stores the packs of one checkpoint, several at a time. */
export class PackUpload {
  readonly #options: PackUploadOptions;
  readonly #packs: (Pack | undefined)[] = [];
  readonly #adopted = new Map<string, number>();
  readonly #queue: (() => void)[] = [];
  readonly #pending = new Set<Promise<void>>();
  #active = 0;
  #storedBytes = 0;

  constructor(options: PackUploadOptions) {
    this.#options = options;
  }

  /** Sealed bytes that are durable; without those of adopted packs. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** Begins a pack, or undefined while no buffer is free: see whenFree. */
  open(): OpenPack | undefined {
    const buffer = this.#options.pool.take();
    if (buffer === undefined) return undefined;
    this.#packs.push(undefined);
    return { index: this.#packs.length - 1, buffer };
  }

  /**
   * Names a pack of an earlier checkpoint of the same instance and key, so that its pages need not be stored again.
   * @returns its index, the same one each time
   */
  adopt(pack: Pack): number {
    const known = this.#adopted.get(pack.key);
    if (known !== undefined) return known;
    this.#packs.push(pack);
    this.#adopted.set(pack.key, this.#packs.length - 1);
    return this.#packs.length - 1;
  }

  whenFree(call: () => void): void {
    this.#options.pool.whenFree(call);
  }

  /** Resolves when a buffer may be free; rejects with the signal's reason when the checkpoint fails meanwhile. */
  async free(): Promise<void> {
    const { pool, signal } = this.#options;
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const stop = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      signal.addEventListener('abort', stop, { once: true });
      pool.whenFree(() => {
        signal.removeEventListener('abort', stop);
        resolve();
      });
    });
  }

  /** Takes a filled pack over; its buffer goes back to the pool when it is durable. */
  close(pack: OpenPack, bytes: number): void {
    const work = this.#store(pack, bytes)
      .catch((error: unknown) => this.#options.fail(error))
      .finally(() => {
        this.#pending.delete(work);
        this.#options.pool.give(pack.buffer);
      });
    this.#pending.add(work);
  }

  /** Waits until everything handed over is durable. @throws the signal's reason when something failed */
  async finish(): Promise<Pack[]> {
    await Promise.all(this.#pending);
    this.#options.signal.throwIfAborted();
    return this.#packs.filter((pack) => pack !== undefined);
  }

  async #store(pack: OpenPack, bytes: number): Promise<void> {
    const { store, keyPrefix, signal, sealing, compresses, frames = inlineFrames } = this.#options;
    await this.#turn();
    try {
      signal.throwIfAborted();
      const name = randomUUID();
      const area = areaOf(pack.buffer);
      const job = { key: packKey(sealing, name), area, rawAt: marginBytes, rawBytes: bytes };
      const sealed = await frames.seal({ ...job, compresses });
      signal.throwIfAborted();
      const key = packObject(keyPrefix, name);
      await store.put(key, Buffer.from(area, 0, sealed.bytes), { sha256: sealed.sha256, signal });
      this.#packs[pack.index] = { key, bytes, frames: [...sealed.frames], sha256: sealed.sha256 };
      this.#storedBytes += sealed.bytes;
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#active -= 1;
      else next();
    }
  }

  async #turn(): Promise<void> {
    if (this.#active < this.#options.parallel) this.#active += 1;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
  }
}

/** A cursor through packs: what is written one after the other lies together. Several may write to one upload. */
export class PackWriter {
  #pack: OpenPack | undefined;
  #fill = 0;

  constructor(readonly upload: PackUpload) {}

  /** Where the next bytes go, at least one; undefined while no buffer is free. */
  room(): Buffer | undefined {
    if (this.#pack !== undefined && this.#fill === this.#pack.buffer.byteLength) this.seal();
    this.#pack ??= this.upload.open();
    return this.#pack?.buffer.subarray(this.#fill);
  }

  /** Says that the first `bytes` of room() were filled; returns where they lie. */
  advance(bytes: number): Extent {
    if (this.#pack === undefined) throw new RangeError('advance without room');
    const extent = { pack: this.#pack.index, offset: this.#fill, bytes };
    this.#fill += bytes;
    return extent;
  }

  /** Takes back the last `bytes` written. */
  retreat(bytes: number): void {
    this.#fill -= bytes;
  }

  /** Hands the pack over for storing, however full it is. */
  seal(): void {
    if (this.#pack === undefined) return;
    // A pack that became empty again still has its index; one byte keeps it a valid object.
    if (this.#fill === 0) this.#pack.buffer[0] = 0;
    this.upload.close(this.#pack, Math.max(this.#fill, 1));
    this.#pack = undefined;
    this.#fill = 0;
  }

  /** Copies bytes in, waiting for buffers as needed. @throws the reason why the checkpoint failed */
  async write(bytes: Uint8Array): Promise<Extent[]> {
    const extents: Extent[] = [];
    let rest = bytes;
    while (rest.byteLength > 0) {
      const room = this.room();
      if (room === undefined) {
        await this.upload.free();
        continue;
      }
      const part = rest.subarray(0, room.byteLength);
      room.set(part);
      extents.push(this.advance(part.byteLength));
      rest = rest.subarray(part.byteLength);
    }
    return extents;
  }
}

/** Appends to a list of extents, merging with its end where they touch. */
export function appendExtents(list: Extent[], more: readonly Extent[]): void {
  for (const next of more) {
    const last = list.at(-1);
    if (last !== undefined && last.pack === next.pack && last.offset + last.bytes === next.offset) {
      list[list.length - 1] = { ...last, bytes: last.bytes + next.bytes };
    } else {
      list.push(next);
    }
  }
}
