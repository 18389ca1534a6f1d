import { expect } from 'chai';
import { confirmChunks } from '../../../../agent/memory/confirm.ts';
import { chunkPages, noChunks, PageTable, wordOfPack, wordsOfPage } from '../../../../agent/memory/page-table.ts';

describe('confirmChunks', () => {
  /** Chunks of which every page is known, last gone through in pass 1. */
  function known(...numbers: readonly number[]) {
    const table = new PageTable();
    const chunks = noChunks();
    for (const [i, slot] of table.take(numbers.length).entries()) {
      const entries = table.entries(slot);
      for (let page = 0; page < chunkPages; page += 1) entries[page * wordsOfPage + wordOfPack] = 0;
      chunks.slots.set(numbers[i] ?? 0, slot);
      chunks.passes.set(numbers[i] ?? 0, 1);
    }
    const isKnown = (page: number): boolean => table.placeOf(chunks, page) !== undefined;
    return { table, chunks, isKnown };
  }

  it('confirms chunks in the ranges and leaves the others as they are', () => {
    const { table, chunks, isKnown } = known(4, 5, 6, 9);
    confirmChunks(table, chunks, [{ from: 4 * chunkPages, to: 6 * chunkPages }], 7);
    expect([4, 5, 6, 9].map((chunk) => chunks.passes.get(chunk))).to.deep.equal([7, 7, 1, 1]);
    expect(isKnown(6 * chunkPages)).to.equal(true);
    expect(table.usesOf(chunks).get(0)?.live).to.equal(4 * chunkPages);
  });

  it('forgets the pages between ranges, before the first and after the last', () => {
    const { table, chunks, isKnown } = known(4);
    const start = 4 * chunkPages;
    const ranges = [
      { from: start - 50, to: start - 10 },
      { from: start + 10, to: start + 20 },
      { from: start + 20, to: start + 30 },
      { from: start + 31, to: start + 32 },
      { from: start + 2 * chunkPages, to: start + 3 * chunkPages },
    ];
    confirmChunks(table, chunks, ranges, 2);
    const left = Array.from({ length: chunkPages }, (_, page) => page).filter((page) => isKnown(start + page));
    expect(left).to.deep.equal([...Array.from({ length: 20 }, (_, i) => i + 10), 31]);
    expect(chunks.passes.get(4)).to.equal(2);
  });

  it('confirms nothing without ranges', () => {
    const { table, chunks } = known(4);
    confirmChunks(table, chunks, [], 2);
    expect(chunks.passes.get(4)).to.equal(1);
  });

  it('finds the pages of some packs', () => {
    const { table, chunks } = known(4);
    table.entries(chunks.slots.get(4) ?? 0)[3 * wordsOfPage + wordOfPack] = 8;
    expect(table.pagesIn(chunks, new Set([8, 9]))).to.deep.equal([
      { from: 4 * chunkPages + 3, to: 4 * chunkPages + 4 },
    ]);
  });
});
