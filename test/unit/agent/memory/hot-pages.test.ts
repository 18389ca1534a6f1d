import { expect } from 'chai';
import { hotList } from '../../../../agent/memory/hot-list.ts';
import { HotPages } from '../../../../agent/memory/hot-pages.ts';
import { chunkPages, noChunks, PageTable, wordOfPack, wordsOfPage } from '../../../../agent/memory/page-table.ts';
import { maxHotRanges, type PageImage } from '../../../../agent/store/manifest.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';

/** A process of two chunks, 7 and 9, all of whose pages are in pack 0; and rounds in which some of them change. */
function setUp() {
  const table = new PageTable();
  const process = { chunks: noChunks() };
  const hot = new HotPages();
  let pack = 0;
  const write = (pages: readonly number[]): void => {
    for (const page of pages) {
      const slot = process.chunks.slots.get(Math.floor(page / chunkPages)) ?? -1;
      table.entries(slot)[(page % chunkPages) * wordsOfPage + wordOfPack] = pack;
    }
  };
  for (const chunk of [7, 9]) {
    process.chunks.slots.set(chunk, table.take(1)[0] ?? -1);
    write(Array.from({ length: chunkPages }, (_, i) => chunk * chunkPages + i));
  }
  const round = (...pages: number[]): void => {
    pack += 1;
    write(pages);
    hot.note(table, [process], pack);
  };
  return { table, process, hot, round };
}

const first = 7 * chunkPages;
const other = 9 * chunkPages;
const whole = [{ chunk: 7, from: 0, to: chunkPages }];
const everywhere = [{ from: 0, to: 100 * chunkPages }];

describe('HotPages', () => {
  it('knows what has changed in the last two rounds', () => {
    const { hot, process, round } = setUp();
    expect(hot.rangesOf(process)).to.deep.equal([]);
    round(first, first + 1, other);
    round(first + 2);
    expect(hot.rangesOf(process)).to.deep.equal([
      { from: first, to: first + 3 },
      { from: other, to: other + 1 },
    ]);
    round();
    expect(hot.rangesOf(process)).to.deep.equal([{ from: first + 2, to: first + 3 }]);
  });

  it('excludes what changed in each of the last three rounds, and forgets it', () => {
    const { hot, table, process, round } = setUp();
    round(first + 5, first + 6);
    round(first + 5, first + 6, other);
    hot.exclude([process], 100);
    expect(hot.excludedPages).to.equal(0);
    expect(hot.without(table, process, whole)).to.deep.equal(whole);
    round(first + 5, other);
    hot.exclude([process], 100);
    expect(hot.excludedPages).to.equal(1);
    expect(hot.without(table, process, whole)).to.deep.equal([
      { chunk: 7, from: 0, to: 5 },
      { chunk: 7, from: 6, to: chunkPages },
    ]);
    expect(table.placeOf(process.chunks, first + 5)).to.equal(undefined);
    expect(table.placeOf(process.chunks, first + 6)).not.to.equal(undefined);
    expect(hot.excludedIn(process, everywhere)).to.deep.equal([{ from: first + 5, to: first + 6 }]);
    expect(hot.excludedIn(process, [{ from: 0, to: first + 5 }])).to.deep.equal([]);
  });

  it('keeps excluded what nobody looks at any more', () => {
    const { hot, process, round } = setUp();
    for (let i = 0; i < 3; i += 1) round(first);
    hot.exclude([process], 1);
    for (let i = 0; i < 9; i += 1) round();
    expect(hot.excludedIn(process, everywhere)).to.deep.equal([{ from: first, to: first + 1 }]);
    expect(hot.rangesOf(process)).to.deep.equal([{ from: first, to: first + 1 }]);
  });

  it('excludes no more than the freeze can take', () => {
    const { hot, process, round } = setUp();
    for (let i = 0; i < 3; i += 1) round(first, first + 1, first + 2, other);
    hot.exclude([process], 0);
    expect(hot.excludedPages).to.equal(0);
    hot.exclude([process], 2.5);
    hot.exclude([process], 2.5);
    expect(hot.excludedPages).to.equal(3);
  });
});

describe('hotList', () => {
  const image = (runs: readonly { page: number; pages: number; pack: number }[]): PageImage => ({
    kind: 'pid',
    id: 10,
    runs: PageRuns.of(runs.map((run) => ({ ...run, flags: 6, at: 0 }))),
  });

  it('names what was seen and what was stored last, neighbours together', () => {
    const pages = [
      image([
        { page: 100, pages: 4, pack: 3 },
        { page: 104, pages: 4, pack: 9 },
        { page: 500, pages: 1, pack: 9 },
      ]),
      { kind: 'shmem' as const, id: 11, runs: PageRuns.of([]) },
    ];
    const seen = new Map([
      [
        10,
        [
          { from: 90, to: 92 },
          { from: 112, to: 113 },
        ],
      ],
    ]);
    expect(hotList(seen, pages, (pack) => pack >= 5)).to.deep.equal([
      {
        id: 10,
        ranges: [
          [90, 2],
          [104, 9],
          [500, 1],
        ],
      },
    ]);
    expect(hotList(new Map(), pages, () => false)).to.deep.equal([]);
  });

  it('names only so many, the longest', () => {
    const count = maxHotRanges + 10;
    const runs = Array.from({ length: count }, (_, i) => ({ page: 100 * i, pages: i < 10 ? 1 : 2, pack: 1 }));
    const [list] = hotList(new Map(), [image(runs)], () => true);
    expect(list?.ranges).to.have.length(maxHotRanges);
    expect(list?.ranges[0]).to.deep.equal([1000, 2]);
  });
});
