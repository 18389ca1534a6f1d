import { expect } from 'chai';
import { chunkPages } from '../../../../agent/memory/page-table.ts';
import { packsToMerge, packsToRewrite, type PackUse } from '../../../../agent/memory/compaction.ts';

describe('packsToRewrite', () => {
  const use = (pack: number, pages: number, live: number): PackUse => ({ pack, pages, live, spans: [] });
  const cases = [
    { name: 'leaves packs alone of which half is in use', packs: [use(1, 10, 5)], chosen: [] },
    { name: 'takes those of which less is', packs: [use(1, 10, 4)], chosen: [1] },
    { name: 'needs nothing of a pack that nobody uses', packs: [use(1, 10, 0)], chosen: [] },
    {
      name: 'begins with the emptiest and stays within the limit',
      packs: [use(1, 1000, 60), use(2, 1000, 30), use(3, 1000, 50)],
      chosen: [2, 3],
    },
  ];
  for (const { name, packs, chosen } of cases) {
    it(name, () => expect(packsToRewrite(packs, 100)).to.deep.equal(chosen));
  }
});

describe('packsToMerge', () => {
  const use = (pack: number, live: number, from: number, to: number, process = 1): PackUse => ({
    pack,
    pages: live,
    live,
    spans: [{ process, from, to }],
  });
  const many = (count: number, make: (i: number) => PackUse): PackUse[] =>
    Array.from({ length: count }, (_, i) => make(i));

  const cases = [
    { name: 'leaves ten over one another alone', packs: many(10, (i) => use(i, 10, 0, 9)), chosen: [] },
    {
      name: 'merges the smallest of eleven, until four are left',
      packs: many(11, (i) => use(i, 15 - i, 0, 9)),
      chosen: [10, 9, 8, 7, 6, 5, 4],
    },
    { name: 'leaves those alone that lie one after the other', packs: many(50, (i) => use(i, 10, i, i)), chosen: [] },
    {
      name: 'counts each process by itself',
      packs: [...many(8, (i) => use(i, 1, 0, 9, 1)), ...many(8, (i) => use(8 + i, 1, 0, 9, 2))],
      chosen: [],
    },
    {
      name: 'sees every crowded place',
      packs: [...many(11, (i) => use(i, 1, 0, 4)), ...many(12, (i) => use(11 + i, 1, 5, 9))],
      chosen: [11, 12, 13, 14, 15, 16, 17, 18, 0, 1, 2, 3, 4, 5, 6],
    },
    { name: 'stays within the limit', packs: many(12, (i) => use(i, 30, 0, 9)), chosen: [0, 1, 2] },
    { name: 'does not move one alone', packs: many(12, (i) => use(i, 60, 0, 9)), chosen: [] },
    { name: 'needs nothing of packs that nobody uses', packs: many(12, (i) => use(i, 0, 0, 9)), chosen: [] },
  ];
  for (const { name, packs, chosen } of cases) {
    it(name, () => expect(packsToMerge(packs, 100)).to.deep.equal(chosen));
  }

  it('bounds what lies over one another, what is named and what is stored, however many generations there are', () => {
    // Each generation writes 2 % of all pages, spread evenly, into packs of 2048 pages that follow one another.
    const [all, packPages, changed, limit] = [262_144, 2_048, 5_200, 16_384];
    let packs: PackUse[] = many(all / packPages, (i) => use(i, packPages, i * 8, i * 8 + 7));
    let next = packs.length;
    let stored = 0;
    const generations = 100;
    for (let generation = 0; generation < generations; generation += 1) {
      const merged = packsToMerge(packs, limit);
      const rest = packs.filter(({ pack }) => !merged.includes(pack));
      const gone = new Set([...merged, ...packsToRewrite(rest, limit)]);
      const density = new Float64Array(all / chunkPages).fill((changed * chunkPages) / all);
      for (const { live, spans } of packs.filter(({ pack }) => gone.has(pack))) {
        const [{ from, to } = { from: 0, to: 0 }] = spans;
        for (let chunk = from; chunk <= to; chunk += 1) density[chunk] = (density[chunk] ?? 0) + live / (to - from + 1);
      }
      packs = packs
        .filter(({ pack }) => !gone.has(pack))
        .map((each) => ({ ...each, live: each.live * (1 - changed / all) }));
      let [pages, from] = [0, 0];
      for (const [chunk, here] of density.entries()) {
        pages += here;
        stored += here;
        if (pages < packPages && chunk < density.length - 1) continue;
        packs.push(use((next += 1), pages, from, chunk));
        [pages, from] = [0, chunk];
      }
    }
    const overlap = Array.from(
      { length: all / chunkPages },
      (_, chunk) => packs.filter(({ spans }) => spans.some(({ from, to }) => from <= chunk && chunk <= to)).length,
    );
    expect(Math.max(...overlap)).to.be.at.most(15);
    expect(packs.reduce((sum, { pages }) => sum + pages, 0)).to.be.lessThan(1.5 * all);
    expect(stored / generations).to.be.lessThan(5 * changed);
  });
});
