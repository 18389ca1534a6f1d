import { pageBytes } from '../pages/page-size.ts';
import type { CheckpointRef, Manifest, Pack } from '../store/manifest.ts';
import type { PageRuns } from '../store/page-runs.ts';
import { chunkPages, type PageTable, type ProcessChunks } from './page-table.ts';

/**
 * What a complete checkpoint holds of the private memory of a tree that runs: where each page's content is stored, and the hash of that content. It is
 * a guess at what the memory holds now and no more: a page counts as stored only when its own hash, taken since, is the same.
 */
export interface Baseline {
  /** As long as its manifest is there, so are its packs. */
  readonly checkpoint: CheckpointRef;
  /** Of the hashes. */
  readonly seed: bigint;
  readonly packs: readonly Pack[];
  /** By pid, what a lazy restore puts in later. */
  readonly processes: ReadonlyMap<number, PageRuns>;
  /** By pack, two words for each of its pages; both 0: not known. */
  readonly hashes: ReadonlyMap<number, Int32Array>;
}

/** Hashes of the pages of packs, collected while these are opened. */
export class PackHashes {
  readonly #hashes = new Map<string, Int32Array>();

  /** @param seed secret, see PageHasher */
  constructor(readonly seed: bigint) {}

  add({ key, bytes }: Pack, first: number, hashes: Int32Array): void {
    const ofPack = this.#hashes.get(key) ?? new Int32Array(2 * Math.floor(bytes / pageBytes));
    this.#hashes.set(key, ofPack);
    ofPack.set(hashes, 2 * first);
  }

  of({ key }: Pack): Int32Array | undefined {
    return this.#hashes.get(key);
  }
}

type Pages = Pick<Manifest, 'packs' | 'pages'>;

function lazyRuns({ pages }: Pages): Map<number, PageRuns> {
  return new Map(pages.filter(({ kind }) => kind === 'pid').map(({ id, runs }) => [id, runs.later()]));
}

/** Of a checkpoint that was restored, from what was opened for it. Pure. */
export function baselineOfRestored(checkpoint: CheckpointRef, manifest: Pages, known: PackHashes): Baseline {
  const processes = lazyRuns(manifest);
  const hashes = new Map<number, Int32Array>();
  const used = new Set<number>();
  for (const runs of processes.values()) for (let i = 0; i < runs.length; i += 1) used.add(runs.pack(i));
  for (const pack of used) {
    const of = manifest.packs[pack];
    const found = of === undefined ? undefined : known.of(of);
    if (found !== undefined) hashes.set(pack, found);
  }
  return { checkpoint, seed: known.seed, packs: manifest.packs, processes, hashes };
}

/**
 * Of a checkpoint that was just taken, from the table it was taken with. Pure.
 * @param packs those of the table, by its numbers
 */
export function baselineOfTaken(
  checkpoint: CheckpointRef,
  manifest: Pages,
  table: PageTable,
  chunks: ReadonlyMap<number, ProcessChunks>,
  packs: readonly (Pack | undefined)[],
): Baseline {
  const processes = lazyRuns(manifest);
  const hashes = new Map<number, Int32Array>();
  for (const [pid, runs] of processes) {
    const ofProcess = chunks.get(pid);
    if (ofProcess === undefined) continue;
    for (const { page, pages, pack, at } of runs) {
      const named = manifest.packs[pack];
      if (named === undefined) continue;
      const target = hashes.get(pack) ?? new Int32Array(2 * Math.floor(named.bytes / pageBytes));
      hashes.set(pack, target);
      for (let i = 0; i < pages; i += 1) {
        const entry = table.entryOf(ofProcess, page + i);
        // Pages that CRIU itself has stored are not in the table, or only as they were before.
        if (entry === undefined || entry.at !== at + i || packs[entry.pack]?.key !== named.key) continue;
        target[2 * (at + i)] = entry.low;
        target[2 * (at + i) + 1] = entry.high;
      }
    }
  }
  return { checkpoint, seed: table.seed, packs: manifest.packs, processes, hashes };
}

/**
 * A chunk whose pages lie in more places than this is stored anew, as one: every place costs time in the freeze, where the index is made and read.
 * Of 256 pages, about a tenth must have been written one by one for that.
 */
const mostRunsOfChunk = 48;

/** The chunks of a process that are in many pieces. */
function scatteredChunks(runs: PageRuns): Set<number> {
  const counts = new Map<number, number>();
  const scattered = new Set<number>();
  for (let i = 0; i < runs.length; i += 1) {
    for (const chunk of new Set([runs.page(i), runs.end(i) - 1].map((of) => Math.floor(of / chunkPages)))) {
      const count = (counts.get(chunk) ?? 0) + 1;
      counts.set(chunk, count);
      if (count > mostRunsOfChunk) scattered.add(chunk);
    }
  }
  return scattered;
}

/**
 * Enters in the table what is known of the pages of a process, but for what is in too many pieces. None of it counts before a pass has gone
 * through its chunk.
 */
export function enterBaseline(table: PageTable, chunks: ProcessChunks, baseline: Baseline, pid: number): void {
  const runs = baseline.processes.get(pid);
  if (runs === undefined) return;
  const scattered = scatteredChunks(runs);
  for (const { page, pages, pack, at } of runs) {
    const hashes = baseline.hashes.get(pack);
    if (hashes === undefined) continue;
    for (let done = 0; done < pages;) {
      const first = page + done;
      const count = scattered.size === 0 ? pages : Math.min(pages - done, chunkPages - (first % chunkPages));
      if (!scattered.has(Math.floor(first / chunkPages))) {
        table.enter(chunks, { page: first, pages: count, pack, at: at + done }, hashes);
      }
      done += count;
    }
  }
}
