import type { PageRun } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import { firstRunFrom } from './page-runs.ts';

/** Most runs looked at to see what comes next: bounds the time of one step in a very fragmented memory. */
const runsAhead = 4096;

/** Of the packs in memory, those that requests under way may hold. */
const reservedSlots = 4;

export interface ReadAheadOptions {
  readonly reader: PackReader;
  /** How many packs are read at a time; 0: none is read ahead. */
  readonly workers: number;
  /** Gets a failed read; nothing more is read ahead then. */
  readonly fail: (error: unknown) => void;
}

/** Where a process is: its lazy runs, ascending, and the first page that CRIU has not asked for in order. */
export interface Cursor {
  readonly runs: readonly PageRun[];
  page: number;
}

/**
 * Reads the packs that the processes will need next and keeps them in memory until they have passed them. All processes are
 * filled at the same time, so each has its share of the window.
 */
export class ReadAhead {
  readonly #options: ReadAheadOptions;
  readonly #cursors: readonly Cursor[];
  readonly #depth: number;
  readonly #ready = new Set<number>();
  readonly #loading = new Set<number>();
  #wanted: readonly number[] = [];
  #isStopped = false;

  constructor(cursors: readonly Cursor[], options: ReadAheadOptions) {
    this.#options = options;
    this.#cursors = cursors;
    this.#depth = options.workers === 0 ? 0 : Math.max(options.reader.capacity - reservedSlots, 1);
  }

  /** Whether a pack can be had without waiting for the store. */
  has(pack: number): boolean {
    return this.#ready.has(pack);
  }

  /** Whether a pack is being read whole. */
  isComing(pack: number): boolean {
    return this.#loading.has(pack);
  }

  /** Looks where the processes are now, gives up what they have passed, and reads on. */
  advance(): void {
    if (this.#isStopped) return;
    this.#wanted = nextPacks(this.#cursors, this.#depth);
    for (const pack of this.#ready) {
      if (this.#wanted.includes(pack)) continue;
      this.#ready.delete(pack);
      this.#options.reader.done(pack);
      this.#options.reader.release(pack);
    }
    this.#read();
  }

  /** Reads nothing any more, and gives up everything. */
  stop(): void {
    this.#isStopped = true;
    for (const pack of this.#ready) this.#options.reader.release(pack);
    this.#ready.clear();
  }

  #read(): void {
    for (const pack of this.#wanted) {
      if (this.#isStopped || this.#loading.size >= this.#options.workers) return;
      // What is being read occupies memory as well, wanted or not.
      if (this.#ready.size + this.#loading.size >= this.#depth) return;
      if (this.#ready.has(pack) || this.#loading.has(pack)) continue;
      this.#loading.add(pack);
      void this.#load(pack);
    }
  }

  async #load(pack: number): Promise<void> {
    try {
      await this.#options.reader.hold(pack);
    } catch (error) {
      if (!this.#isStopped) this.#options.fail(error);
      this.#isStopped = true;
      return;
    } finally {
      this.#loading.delete(pack);
    }
    if (this.#isStopped || !this.#wanted.includes(pack)) this.#options.reader.release(pack);
    else this.#ready.add(pack);
    this.#read();
  }
}

/** The first `count` distinct packs that processes need from where they are, in turn. Pure. */
export function nextPacks(cursors: readonly Cursor[], count: number): number[] {
  const walks = cursors.map(({ runs, page }) => ({ runs, at: firstRunFrom(runs, page), end: 0 }));
  for (const walk of walks) walk.end = Math.min(walk.at + runsAhead, walk.runs.length);
  const packs = new Set<number>();
  let isMoving = true;
  while (packs.size < count && isMoving) {
    isMoving = false;
    for (const walk of walks) {
      if (packs.size >= count) break;
      const before = packs.size;
      while (walk.at < walk.end && packs.size === before) {
        const pack = walk.runs[walk.at]?.pack ?? -1;
        if (pack >= 0) packs.add(pack);
        walk.at += 1;
      }
      isMoving ||= walk.at < walk.end;
    }
  }
  return [...packs];
}
