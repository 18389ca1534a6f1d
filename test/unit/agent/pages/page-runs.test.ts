import { expect } from 'chai';
import { findRun, PageRunList, sliceRuns } from '../../../../agent/pages/page-runs.ts';
import type { PageRun } from '../../../../agent/store/manifest.ts';

const run = (page: number, pages: number, pack: number, at: number, flags = 6): PageRun => ({
  page,
  pages,
  flags,
  pack,
  at,
});

describe('PageRunList', () => {
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
  ];
  for (const { name, add, expected } of cases) {
    it(name, () => {
      const list = new PageRunList('pid', 10_000);
      for (const next of add) list.add(next);
      expect(list.image()).to.deep.equal({ kind: 'pid', id: 10_000, runs: expected ?? add });
    });
  }
});

describe('sliceRuns', () => {
  const runs = [run(10, 4, 0, 0), run(14, 2, -1, 0), run(16, 4, 0, 4), run(30, 1, 1, 0)];
  const cases = [
    { name: 'a whole run', page: 10, pages: 4, expected: [run(10, 4, 0, 0)] },
    { name: 'the middle of a run', page: 11, pages: 2, expected: [run(11, 2, 0, 1)] },
    { name: 'across zeroes', page: 13, pages: 4, expected: [run(13, 1, 0, 3), run(14, 2, -1, 0), run(16, 1, 0, 4)] },
    { name: 'the last page', page: 30, pages: 1, expected: [run(30, 1, 1, 0)] },
    { name: 'nothing across a hole', page: 19, pages: 2, expected: undefined },
    { name: 'nothing before the start', page: 9, pages: 1, expected: undefined },
    { name: 'nothing past the end', page: 30, pages: 2, expected: undefined },
  ];
  for (const { name, page, pages, expected } of cases) {
    it(`gives ${name}`, () => expect(sliceRuns(runs, page, pages)).to.deep.equal(expected));
  }

  it('finds each page and no other', () => {
    for (let page = 0; page < 40; page += 1) {
      const expected = runs.findIndex((r) => page >= r.page && page < r.page + r.pages);
      expect(findRun(runs, page)).to.equal(expected < 0 ? undefined : expected);
    }
  });
});
