import { closeSync, openSync, readSync } from 'node:fs';
import { hasVanished } from '../launch/proc-stat.ts';
import { pageBytes } from '../pages/page-size.ts';
import type { PageHasher } from './page-hasher.ts';
import { absentPack, chunkPages, wordOfPack, wordOfPlace, wordsOfPage, wordsOfSlot, zeroedPack } from './page-table.ts';

const pagemapBytes = 8;
/** Bits 63 (present) and 62 (swapped) of an entry, in its upper half. @see kernel Documentation/admin-guide/mm/pagemap.rst */
const isThere = 0xc0000000;

/** Where changed pages go. */
export interface ChangedPages {
  /** Memory for at least one page; waits for it when there is none. */
  room(): Promise<{ readonly pack: number; readonly memory: Uint8Array; readonly fill: number }>;
  /** Says that pages were put there. */
  filled(bytes: number): void;
}

export interface ChunkCounts {
  present: number;
  zero: number;
  changed: number;
}

/** Two files of a process. It may end at any time: its memory is then simply not there any more. */
export class ProcessMemory {
  readonly #memory: number;
  readonly #pagemap: number;
  readonly #entries = Buffer.alloc(chunkPages * pagemapBytes);

  /** @throws Error of the file system, e.g. ENOENT when the process has ended */
  constructor(pid: number) {
    this.#memory = openSync(`/proc/${pid}/mem`, 'r');
    this.#pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  }

  close(): void {
    closeSync(this.#memory);
    closeSync(this.#pagemap);
  }

  /** Marks those of these pages of a chunk that have content. */
  mark(marks: Uint8Array, chunk: number, from: number, to: number): void {
    const bytes = this.#read(
      this.#pagemap,
      this.#entries.subarray(0, (to - from) * pagemapBytes),
      (chunk * chunkPages + from) * pagemapBytes,
    );
    for (let i = 0; i < bytes / pagemapBytes; i += 1) {
      if ((this.#entries.readUInt32LE(i * pagemapBytes + 4) & isThere) !== 0) marks[from + i] = 1;
    }
  }

  /** Reads pages; says how many of them could be read before one that could not. */
  pages(target: Buffer, page: number): number {
    return Math.floor(this.#read(this.#memory, target, page * pageBytes) / pageBytes);
  }

  #read(file: number, target: Buffer, position: number): number {
    try {
      return readSync(file, target, 0, target.byteLength, position);
    } catch (error) {
      // EIO: no memory there (any more). ESRCH: the process has ended.
      if (hasVanished(error) || (error as NodeJS.ErrnoException).code === 'EIO') return 0;
      throw error;
    }
  }
}

/**
 * Goes through the marked pages of one chunk: reads and hashes them and puts those that are not what the table says to where changed
 * pages go. What the table then says is what was read, even if the application has written on meanwhile.
 * @param marks a byte a page: 1 to be looked at; 0 afterwards where a page could not be read
 */
export async function scanChunk(
  process: ProcessMemory,
  chunk: number,
  marks: Uint8Array,
  entries: Int32Array,
  hasher: PageHasher,
  rewrite: Uint8Array,
  changed: ChangedPages,
  counts: ChunkCounts,
): Promise<void> {
  for (let first = 0; first < chunkPages;) {
    if (marks[first] === 0) {
      first += 1;
      continue;
    }
    let end = first;
    while (end < chunkPages && marks[end] === 1) end += 1;
    const target = hasher.memory.subarray(first * pageBytes, end * pageBytes);
    const pages = process.pages(target, chunk * chunkPages + first);
    if (first + pages < end) {
      marks[first + pages] = 0;
      entries[(first + pages) * wordsOfPage + wordOfPack] = absentPack;
    }
    if (pages > 0) {
      hasher.hash(first, pages);
      counts.present += pages;
      await compare(first, first + pages);
    }
    first += pages;
  }

  /** Pages are stored in stretches that are as long as possible. */
  async function compare(from: number, to: number): Promise<void> {
    const { hashes } = hasher;
    let start = from;
    for (let page = from; page < to; page += 1) {
      const low = hashes[2 * page] ?? 0;
      const high = hashes[2 * page + 1] ?? 0;
      const word = page * wordsOfPage;
      const pack = entries[word + wordOfPack] ?? absentPack;
      const isZero = low === 0 && high === 0;
      const isSame = pack >= 0 && entries[word] === low && entries[word + 1] === high && rewrite[pack] === 0;
      if (!isZero && !isSame) continue;
      if (start < page) await store(start, page);
      start = page + 1;
      if (!isZero) continue;
      counts.zero += 1;
      entries[word] = 0;
      entries[word + 1] = 0;
      entries[word + wordOfPack] = zeroedPack;
    }
    if (start < to) await store(start, to);
  }

  async function store(from: number, to: number): Promise<void> {
    counts.changed += to - from;
    for (let page = from; page < to;) {
      const { pack, memory, fill } = await changed.room();
      const pages = Math.min(to - page, Math.floor((memory.byteLength - fill) / pageBytes));
      memory.set(hasher.memory.subarray(page * pageBytes, (page + pages) * pageBytes), fill);
      for (let i = 0; i < pages; i += 1) {
        const word = (page + i) * wordsOfPage;
        entries[word] = hasher.hashes[2 * (page + i)] ?? 0;
        entries[word + 1] = hasher.hashes[2 * (page + i) + 1] ?? 0;
        entries[word + wordOfPack] = pack;
        entries[word + wordOfPlace] = fill / pageBytes + i;
      }
      changed.filled(pages * pageBytes);
      page += pages;
    }
  }
}

/** Forgets every page, or those without a mark. */
export function forget(entries: Int32Array, marks?: Uint8Array): void {
  for (let page = 0, word = wordOfPack; word < wordsOfSlot; page += 1, word += wordsOfPage) {
    if (marks === undefined || marks[page] === 0) entries[word] = absentPack;
  }
}
