import { expect } from 'chai';
import { pageFlags } from '../../../../agent/criu/page-xfer.ts';
import { baselineOfRestored, baselineOfTaken, enterBaseline, PackHashes } from '../../../../agent/memory/baseline.ts';
import { findRuns } from '../../../../agent/memory/lazy-runs.ts';
import {
  chunkPages,
  noChunks,
  PageTable,
  wordOfPack,
  wordOfPlace,
  wordsOfPage,
  type ProcessChunks,
} from '../../../../agent/memory/page-table.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import type { Pack, PageImage } from '../../../../agent/store/manifest.ts';
import { PageRuns, PageRunsWriter, zeroPack, type PageRun } from '../../../../agent/store/page-runs.ts';

const checkpoint = { id: 'g1', manifestKey: 'p/checkpoints/g1/manifest', manifestSha256: '0'.repeat(64) };
const pack = (key: string, pages: number): Pack => ({ key, bytes: pages * pageBytes, frames: [], sha256: '' });
const lazy = pageFlags.lazy | pageFlags.present;
const run = (page: number, pages: number, of: number, at: number, flags: number = lazy): PageRun => ({
  page,
  pages,
  flags,
  pack: of,
  at,
});
const image = (id: number, ...runs: PageRun[]): PageImage => ({ kind: 'pid', id, runs: PageRuns.of(runs) });
/** Page n of a pack has the hash (base + n, 1). */
const hashes = (base: number, pages: number): Int32Array =>
  Int32Array.from({ length: 2 * pages }, (_, i) => (i % 2 === 0 ? base + i / 2 : 1));

describe('a baseline', () => {
  const first = chunkPages * 7;

  it('says of each page of a restored checkpoint where it is and what it was', () => {
    const known = new PackHashes(5n);
    const packs = [pack('a', 300), pack('b', 10)];
    known.add(packs[0] as Pack, 0, hashes(1000, 300));
    known.add(packs[1] as Pack, 0, hashes(2000, 10));
    const runs = [run(first + 250, 10, 0, 290), run(first + 300, 4, zeroPack, 0), run(first + 400, 2, 1, 3)];
    const baseline = baselineOfRestored(checkpoint, { packs, pages: [image(7, ...runs)] }, known);
    expect(baseline.seed).to.equal(5n);

    const table = new PageTable(baseline.seed);
    const chunks = noChunks();
    enterBaseline(table, chunks, baseline, 7);
    const entry = (page: number) => table.entryOf(chunks, first + page);
    expect(entry(250)).to.deep.equal({ low: 1290, high: 1, pack: 0, at: 290 });
    // Beyond the border of a chunk.
    expect(entry(259)).to.deep.equal({ low: 1299, high: 1, pack: 0, at: 299 });
    expect(entry(401)).to.deep.equal({ low: 2004, high: 1, pack: 1, at: 4 });
    for (const page of [249, 260, 300, 303, 402]) expect(entry(page), String(page)).to.equal(undefined);
  });

  it('leaves out a chunk that lies in too many pieces, and only that', () => {
    const known = new PackHashes(5n);
    const packs = [pack('a', 4 * chunkPages)];
    known.add(packs[0] as Pack, 0, hashes(1000, 4 * chunkPages));
    // One run reaches from the chunk before into the scattered one; every other page of that follows, alone.
    const whole = run(first, chunkPages + 4, 0, 0);
    const pieces = Array.from({ length: 110 }, (_, i) => run(first + chunkPages + 10 + 2 * i, 1, 0, 300 + 2 * i));
    const after = run(first + 2 * chunkPages, 5, 0, 900);
    const pages = [image(7, whole, ...pieces, after)];
    const table = new PageTable(5n);
    const chunks = noChunks();
    enterBaseline(table, chunks, baselineOfRestored(checkpoint, { packs, pages }, known), 7);
    const entry = (page: number) => table.entryOf(chunks, first + page);
    expect(entry(chunkPages - 1)).to.include({ pack: 0, at: chunkPages - 1 });
    expect(entry(2 * chunkPages + 4)).to.include({ pack: 0, at: 904 });
    for (const page of [chunkPages, chunkPages + 3, chunkPages + 10, 2 * chunkPages - 28])
      expect(entry(page), String(page)).to.equal(undefined);
  });

  it('is put together from parts of packs', () => {
    const known = new PackHashes(5n);
    const packs = [pack('a', 100)];
    known.add(packs[0] as Pack, 64, hashes(500, 36));
    const baseline = baselineOfRestored(checkpoint, { packs, pages: [image(7, run(first, 100, 0, 0))] }, known);
    const table = new PageTable(baseline.seed);
    const chunks = noChunks();
    enterBaseline(table, chunks, baseline, 7);
    expect(table.entryOf(chunks, first + 63)).to.equal(undefined);
    expect(table.entryOf(chunks, first + 64)).to.deep.equal({ low: 500, high: 1, pack: 0, at: 64 });
    expect(table.entryOf(chunks, first + 99)).to.deep.equal({ low: 535, high: 1, pack: 0, at: 99 });
  });

  it('counts for nothing before a pass has gone through it', () => {
    const known = new PackHashes(5n);
    const packs = [pack('a', 10)];
    known.add(packs[0] as Pack, 0, hashes(1, 10));
    const baseline = baselineOfRestored(checkpoint, { packs, pages: [image(7, run(first, 10, 0, 0))] }, known);
    const table = new PageTable(baseline.seed);
    const chunks = noChunks();
    enterBaseline(table, chunks, baseline, 7);
    const range = { from: first, to: first + 10 };
    const found = new PageRunsWriter();
    expect(findRuns(table, chunks, range, lazy, 1, found)).to.deep.equal([range]);
    expect(found.runs().length).to.equal(0);
  });

  it('leaves out what nobody hashed, what is empty, what CRIU itself writes, and other processes', () => {
    const known = new PackHashes(5n);
    const packs = [pack('a', 10), pack('b', 10)];
    known.add(packs[0] as Pack, 0, hashes(1, 10).fill(0, 4, 6));
    const pages = [
      image(7, run(first, 4, 0, 0), run(first + 4, 4, 1, 0), run(first + 8, 2, 0, 8, pageFlags.present)),
      { kind: 'shmem' as const, id: 8, runs: PageRuns.of([run(first, 4, 0, 0)]) },
    ];
    const baseline = baselineOfRestored(checkpoint, { packs, pages }, known);
    const table = new PageTable(baseline.seed);
    const chunks = noChunks();
    enterBaseline(table, chunks, baseline, 7);
    const there = Array.from({ length: 10 }, (_, i) => table.entryOf(chunks, first + i) !== undefined);
    expect(there).to.deep.equal([true, true, false, true, false, false, false, false, false, false]);
    const other = noChunks();
    enterBaseline(table, other, baseline, 8);
    expect(other.slots.size).to.equal(0);
  });

  describe('of a checkpoint that was just taken', () => {
    const named = [pack('new', 20), pack('old', 20)];
    const packs = [named[1], undefined, named[0]];

    function put(table: PageTable, chunks: ProcessChunks, page: number, of: number, at: number, low: number): void {
      table.enter(chunks, { page, pages: 1, pack: of, at }, Int32Array.from({ length: 2 * at + 2 }).fill(low));
    }

    it('has the hashes of its table', () => {
      const table = new PageTable();
      const chunks = noChunks();
      put(table, chunks, first, 0, 5, 55);
      put(table, chunks, first + 1, 2, 0, 66);
      const manifest = { packs: named, pages: [image(7, run(first, 1, 1, 5), run(first + 1, 1, 0, 0))] };
      const baseline = baselineOfTaken(checkpoint, manifest, table, new Map([[7, chunks]]), packs);
      const next = new PageTable(baseline.seed);
      const again = noChunks();
      enterBaseline(next, again, baseline, 7);
      expect(next.entryOf(again, first)).to.deep.equal({ low: 55, high: 55, pack: 1, at: 5 });
      expect(next.entryOf(again, first + 1)).to.deep.equal({ low: 66, high: 66, pack: 0, at: 0 });
    });

    it('knows nothing of pages that its table has elsewhere', () => {
      const table = new PageTable();
      const chunks = noChunks();
      put(table, chunks, first, 0, 5, 55); // in the other pack
      put(table, chunks, first + 1, 2, 3, 66); // at another place
      const manifest = { packs: named, pages: [image(7, run(first, 3, 0, 0))] };
      const baseline = baselineOfTaken(checkpoint, manifest, table, new Map([[7, chunks]]), packs);
      const next = new PageTable(baseline.seed);
      const again = noChunks();
      enterBaseline(next, again, baseline, 7);
      for (let i = 0; i < 3; i += 1) expect(next.entryOf(again, first + i)).to.equal(undefined);
    });
  });

  it('writes over what slots held before', () => {
    const table = new PageTable();
    const [slot = -1] = table.take(1);
    table.entries(slot).fill(9);
    table.release([slot]);
    const chunks = noChunks();
    table.enter(chunks, { page: first + 3, pages: 1, pack: 4, at: 0 }, hashes(1, 1));
    const entries = table.entries(chunks.slots.get(7) ?? -1);
    expect(entries[3 * wordsOfPage + wordOfPack]).to.equal(4);
    expect(entries[3 * wordsOfPage + wordOfPlace]).to.equal(0);
    expect(table.entryOf(chunks, first + 4)).to.equal(undefined);
  });
});
