import { expect } from 'chai';
import * as fc from 'fast-check';
import { PageRuns, PageRunsWriter, type PageRun } from '../../../../agent/store/page-runs.ts';

const run = (page: number, pages: number, pack: number, at: number, flags = 6): PageRun => ({
  page,
  pages,
  flags,
  pack,
  at,
});

describe('PageRunsWriter', () => {
  const cases = [
    {
      name: 'joins what touches in process and pack',
      add: [run(1, 2, 0, 5), run(3, 1, 0, 7)],
      expected: [run(1, 3, 0, 5)],
    },
    { name: 'joins zeroes', add: [run(1, 2, -1, 0), run(3, 1, -1, 0)], expected: [run(1, 3, -1, 0)] },
    { name: 'keeps a gap in the process', add: [run(1, 2, 0, 5), run(4, 1, 0, 7)] },
    { name: 'keeps a gap in the pack', add: [run(1, 2, 0, 5), run(3, 1, 0, 8)] },
    { name: 'keeps another pack', add: [run(1, 2, 0, 5), run(3, 1, 1, 7)] },
    { name: 'keeps other flags', add: [run(1, 2, 0, 5), run(3, 1, 0, 7, 4)] },
    { name: 'has room for many', add: Array.from({ length: 3000 }, (_, i) => run(2 * i, 1, 0, i)) },
  ];
  for (const { name, add, expected } of cases) {
    it(name, () => {
      const list = new PageRunsWriter();
      for (const { page, pages, flags, pack, at } of add) list.add(page, pages, flags, pack, at);
      expect([...list.runs()]).to.deep.equal(expected ?? add);
    });
  }
});

describe('PageRuns', () => {
  const runs = [run(10, 4, 0, 0), run(14, 2, -1, 0), run(16, 4, 3, 4), run(30, 1, 1, 0, 4)];
  const list = PageRuns.of(runs);

  it('are what they were made of', () => {
    const any = fc.record({
      page: fc.nat(2 ** 52),
      pages: fc.nat(2 ** 52),
      flags: fc.nat(255),
      pack: fc.integer({ min: -1, max: 65_535 }),
      at: fc.nat(2048),
    });
    fc.assert(fc.property(fc.array(any), (some) => void expect([...PageRuns.of(some)]).to.deep.equal(some)));
  });

  it('find each page and no other', () => {
    for (let page = 0; page < 40; page += 1) {
      const index = runs.findIndex((r) => page >= r.page && page < r.page + r.pages);
      expect(list.find(page), String(page)).to.equal(index < 0 ? undefined : index);
      const first = runs.findIndex((r) => r.page + r.pages > page);
      expect(list.firstFrom(page), String(page)).to.equal(first < 0 ? runs.length : first);
    }
  });

  it('count their pages', () => expect(list.allPages).to.equal(11));

  it('give those that come later: neither zeroes nor what CRIU puts in itself', () =>
    expect([...list.later()]).to.deep.equal([runs[0], runs[2]]));

  it('are the same in packs of other numbers', () => {
    const packs = Array.from(
      list.renumbered((pack) => pack + 10),
      ({ pack }) => pack,
    );
    expect(packs).to.deep.equal([10, -1, 13, 11]);
    expect([...list]).to.deep.equal(runs);
  });
});
