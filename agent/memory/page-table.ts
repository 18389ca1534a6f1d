import { randomBytes } from 'node:crypto';
import type { PageRange } from './address-space.ts';

/** The unit of the table and of reading: 1 MiB of a process. */
export const chunkPages = 256;

/** Words of a page's entry: hash (two), pack, first page within the pack. */
export const wordsOfPage = 4;
export const wordOfPack = 2;
export const wordOfPlace = 3;

/** In place of a pack: what holds the page is not known (it was not there at the last look), or it is all zeroes. */
export const absentPack = -2;
export const zeroedPack = -1;

/** Chunks of one block of shared memory: 1 GiB of pages, 4 MiB of entries. */
export const chunksOfSlab = 1024;
export const wordsOfSlot = chunkPages * wordsOfPage;

/** No session has more packs: 512 GiB of pages. */
export const maxPacks = 65_536;

/** Where the entry of a slot's first page begins within its slab. */
export const slotStart = (slot: number): number => (slot % chunksOfSlab) * wordsOfSlot;

/** What is known of one page; undefined pages are absent. */
export interface PagePlace {
  /** Number within the session, or zeroedPack. */
  readonly pack: number;
  readonly at: number;
}

export interface PageEntry extends PagePlace {
  /** Hash of the content. */
  readonly low: number;
  readonly high: number;
}

/** The chunks of one process: where their entries are, and in which pass each was last gone through. */
export interface ProcessChunks {
  /** Chunk number (page / chunkPages) -> slot. */
  readonly slots: Map<number, number>;
  /** Chunk number -> pass. */
  readonly passes: Map<number, number>;
}

/** A secret for hashes of pages. */
export const newSeed = (): bigint => randomBytes(8).readBigUInt64LE();

export const noChunks = (): ProcessChunks => ({ slots: new Map(), passes: new Map() });

/**
 * Of each page that was ever seen: the hash of what is stored of it, and where that is. In memory that worker threads share;
 * they write the entries of the chunks they are given, and nobody else does at that time.
 */
export class PageTable {
  readonly slabs: SharedArrayBuffer[] = [];
  /** A byte a pack: not 0 when its pages are to be stored anew, so that the pack falls out of use. */
  readonly rewrite = new SharedArrayBuffer(maxPacks);
  readonly #views: Int32Array[] = [];
  readonly #free: number[] = [];

  /** @param seed of the hashes, secret: see PageHasher */
  constructor(readonly seed: bigint = newSeed()) {}

  /** Slots whose pages are all absent. */
  take(count: number): number[] {
    while (this.#free.length < count) this.#addSlab();
    return this.#free.splice(this.#free.length - count);
  }

  /** Gives slots back whose entries were never written. */
  giveBack(slots: readonly number[]): void {
    this.#free.push(...slots);
  }

  /** Gives slots back, with what is in them. */
  release(slots: Iterable<number>): void {
    for (const slot of slots) {
      this.entries(slot).fill(0);
      this.forget(slot, 0, chunkPages);
      this.#free.push(slot);
    }
  }

  /** Makes pages of a slot absent, `from` to before `to`. */
  forget(slot: number, from: number, to: number): void {
    const entries = this.entries(slot);
    for (let page = from; page < to; page += 1) entries[page * wordsOfPage + wordOfPack] = absentPack;
  }

  /** The pages whose content is in one of these packs. */
  pagesIn({ slots }: ProcessChunks, packs: ReadonlySet<number>): PageRange[] {
    const ranges: PageRange[] = [];
    for (const [chunk, slot] of slots) {
      const entries = this.entries(slot);
      for (let page = 0; page < chunkPages; page += 1) {
        if (!packs.has(entries[page * wordsOfPage + wordOfPack] ?? absentPack)) continue;
        const from = chunk * chunkPages + page;
        ranges.push({ from, to: from + 1 });
      }
    }
    return ranges;
  }

  /** The entries of a slot, wordsOfPage each. */
  entries(slot: number): Int32Array {
    const view = this.#views[Math.floor(slot / chunksOfSlab)];
    if (view === undefined) throw new RangeError(`there is no slot ${slot}`);
    return view.subarray(slotStart(slot), slotStart(slot) + wordsOfSlot);
  }

  /** What is known of a page, or undefined when nothing is. */
  entryOf(chunks: ProcessChunks, page: number): PageEntry | undefined {
    const slot = chunks.slots.get(Math.floor(page / chunkPages));
    if (slot === undefined) return undefined;
    const view = this.#views[Math.floor(slot / chunksOfSlab)];
    const word = slotStart(slot) + (page % chunkPages) * wordsOfPage;
    const pack = view?.[word + wordOfPack] ?? absentPack;
    if (pack === absentPack) return undefined;
    return { low: view?.[word] ?? 0, high: view?.[word + 1] ?? 0, pack, at: view?.[word + wordOfPlace] ?? 0 };
  }

  /** Where the content of a page is, or undefined when it is not known. */
  placeOf(chunks: ProcessChunks, page: number): PagePlace | undefined {
    const entry = this.entryOf(chunks, page);
    return entry === undefined ? undefined : { pack: entry.pack, at: entry.at };
  }

  /**
   * Enters of neighbouring pages that their content is in a pack, without a look at them: their chunks count as last gone through before every pass.
   * @param hashes of the pack's pages, two words each; where both are 0 nothing is entered
   */
  enter(
    chunks: ProcessChunks,
    run: { readonly page: number; readonly pages: number; readonly pack: number; readonly at: number },
    hashes: Int32Array,
  ): void {
    for (let i = 0; i < run.pages;) {
      const first = run.page + i;
      const chunk = Math.floor(first / chunkPages);
      const end = Math.min(run.pages, i + chunkPages - (first % chunkPages));
      const entries = this.entries(this.#slotOf(chunks, chunk));
      for (; i < end; i += 1) {
        const low = hashes[2 * (run.at + i)] ?? 0;
        const high = hashes[2 * (run.at + i) + 1] ?? 0;
        if (low === 0 && high === 0) continue;
        const word = ((run.page + i) % chunkPages) * wordsOfPage;
        entries[word] = low;
        entries[word + 1] = high;
        entries[word + wordOfPack] = run.pack;
        entries[word + wordOfPlace] = run.at + i;
      }
    }
  }

  /** A copy for a process that was forked: what it has not written since is what its parent had. */
  clone(parent: ProcessChunks): ProcessChunks {
    const child = noChunks();
    const slots = this.take(parent.slots.size);
    for (const [chunk, from] of parent.slots) {
      const to = slots.pop();
      if (to === undefined) throw new RangeError('no slot');
      this.entries(to).set(this.entries(from));
      child.slots.set(chunk, to);
      child.passes.set(chunk, 0);
    }
    return child;
  }

  /** Which packs still hold pages of a process: how many, and from which chunk to which. */
  usesOf({ slots }: ProcessChunks): Map<number, { live: number; from: number; to: number }> {
    const uses = new Map<number, { live: number; from: number; to: number }>();
    for (const [chunk, slot] of slots) {
      const entries = this.entries(slot);
      for (let word = wordOfPack; word < wordsOfSlot; word += wordsOfPage) {
        const pack = entries[word] ?? absentPack;
        if (pack < 0) continue;
        const use = uses.get(pack) ?? { live: 0, from: chunk, to: chunk };
        if (use.live === 0) uses.set(pack, use);
        use.live += 1;
        use.from = Math.min(use.from, chunk);
        use.to = Math.max(use.to, chunk);
      }
    }
    return uses;
  }

  #slotOf(chunks: ProcessChunks, chunk: number): number {
    const slot = chunks.slots.get(chunk) ?? this.take(1)[0];
    if (slot === undefined) throw new RangeError('no slot');
    if (!chunks.slots.has(chunk)) chunks.passes.set(chunk, 0);
    chunks.slots.set(chunk, slot);
    return slot;
  }

  #addSlab(): void {
    const first = this.slabs.length * chunksOfSlab;
    const slab = new SharedArrayBuffer(chunksOfSlab * wordsOfSlot * Int32Array.BYTES_PER_ELEMENT);
    const view = new Int32Array(slab);
    for (let word = wordOfPack; word < view.length; word += wordsOfPage) view[word] = absentPack;
    this.slabs.push(slab);
    this.#views.push(view);
    // The lowest number is taken first.
    for (let i = chunksOfSlab - 1; i >= 0; i -= 1) this.#free.push(first + i);
  }
}
