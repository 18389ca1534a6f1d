import { expect } from 'chai';
import { findRuns } from '../../../../agent/memory/lazy-runs.ts';
import {
  chunksOfSlab,
  noChunks,
  PageTable,
  wordOfPack,
  wordOfPlace,
  wordsOfPage,
  zeroedPack,
  type ProcessChunks,
} from '../../../../agent/memory/page-table.ts';
import { PageRunsWriter } from '../../../../agent/store/page-runs.ts';

/** Puts pages of a chunk somewhere: [page within the chunk, pack, first page within the pack]. */
function put(
  table: PageTable,
  chunks: ProcessChunks,
  chunk: number,
  pass: number,
  pages: [number, number, number][],
): void {
  const [slot = -1] = chunks.slots.has(chunk) ? [chunks.slots.get(chunk) ?? -1] : table.take(1);
  chunks.slots.set(chunk, slot);
  chunks.passes.set(chunk, pass);
  for (const [page, pack, at] of pages) {
    table.entries(slot)[page * wordsOfPage + wordOfPack] = pack;
    table.entries(slot)[page * wordsOfPage + wordOfPlace] = at;
  }
}

describe('PageTable', () => {
  it('knows nothing of pages that nobody has seen', () => {
    const table = new PageTable();
    const chunks = noChunks();
    expect(table.placeOf(chunks, 5)).to.equal(undefined);
    put(table, chunks, 0, 1, [[4, 7, 3]]);
    expect(table.placeOf(chunks, 4)).to.deep.equal({ pack: 7, at: 3 });
    expect(table.placeOf(chunks, 5)).to.equal(undefined);
  });

  it('grows, and gives slots out once', () => {
    const table = new PageTable();
    const slots = table.take(chunksOfSlab + 5);
    expect(new Set(slots).size).to.equal(chunksOfSlab + 5);
    expect(table.slabs).to.have.length(2);
  });

  it('forgets what was in a slot that is given back', () => {
    const table = new PageTable();
    const chunks = noChunks();
    put(table, chunks, 0, 1, [[0, 1, 1]]);
    const slot = chunks.slots.get(0) ?? -1;
    table.release([slot]);
    expect(table.take(chunksOfSlab)).to.include(slot);
    expect(table.placeOf(chunks, 0)).to.equal(undefined);
  });

  it('copies what a parent had, and keeps the two apart', () => {
    const table = new PageTable();
    const parent = noChunks();
    put(table, parent, 3, 1, [[0, 1, 9]]);
    const child = table.clone(parent);
    put(table, child, 3, 2, [[0, 2, 4]]);
    expect(table.placeOf(parent, 3 * 256)).to.deep.equal({ pack: 1, at: 9 });
    expect(table.placeOf(child, 3 * 256)).to.deep.equal({ pack: 2, at: 4 });
    expect([...table.usesOf(parent)]).to.deep.equal([[1, { live: 1, from: 3, to: 3 }]]);
    expect([...table.usesOf(child)]).to.deep.equal([[2, { live: 1, from: 3, to: 3 }]]);
  });
});

it('says from where to where the pages of a pack lie', () => {
  const table = new PageTable();
  const chunks = noChunks();
  put(table, chunks, 3, 1, [[0, 1, 9]]);
  put(table, chunks, 9, 1, [
    [5, 1, 10],
    [6, 2, 0],
  ]);
  put(table, chunks, 4, 1, [[255, 1, 11]]);
  expect([...table.usesOf(chunks)]).to.deep.equal([
    [1, { live: 3, from: 3, to: 9 }],
    [2, { live: 1, from: 9, to: 9 }],
  ]);
});

describe('findRuns', () => {
  const table = new PageTable();
  const chunks = noChunks();
  put(table, chunks, 0, 5, [
    [253, 1, 10],
    [254, 1, 11],
    [255, 1, 12],
  ]);
  put(table, chunks, 1, 5, [
    [0, 1, 13],
    [1, zeroedPack, 0],
    [2, zeroedPack, 0],
    [3, 1, 14],
    [4, 2, 15],
    [6, 2, 17],
  ]);
  put(table, chunks, 2, 4, [[0, 1, 1]]);

  it('joins pages across chunks, and does not join what does not touch', () => {
    const found = new PageRunsWriter();
    const missing = findRuns(table, chunks, { from: 254, to: 261 }, 6, 5, found);
    expect(missing).to.deep.equal([]);
    expect([...found.runs()]).to.deep.equal([
      { page: 254, pages: 3, flags: 6, pack: 1, at: 11 },
      { page: 257, pages: 2, flags: 6, pack: zeroedPack, at: 0 },
      { page: 259, pages: 1, flags: 6, pack: 1, at: 14 },
      { page: 260, pages: 1, flags: 6, pack: 2, at: 15 },
    ]);
  });

  it('names what is not known, and what was not looked at in this pass', () => {
    const found = new PageRunsWriter();
    const missing = findRuns(table, chunks, { from: 260, to: 514 }, 6, 5, found);
    expect(Array.from(found.runs(), ({ page }) => page)).to.deep.equal([260, 262]);
    expect(missing).to.deep.equal([
      { from: 261, to: 262 },
      { from: 263, to: 514 },
    ]);
  });

  it('finds nothing of a process that was never seen', () => {
    const missing = findRuns(table, noChunks(), { from: 1, to: 3 }, 6, 1, new PageRunsWriter());
    expect(missing).to.deep.equal([{ from: 1, to: 3 }]);
  });
});
