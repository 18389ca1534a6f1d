import { expect } from 'chai';
import { compactPagemap } from '../../../../agent/pages/pagemap-compact.ts';
import { PageRuns, type PageRun } from '../../../../agent/store/page-runs.ts';

const lazy = 6;
const local = 4;
const run = (page: number, pages: number, flags: number, pack = 0, at = 0): PageRun => ({
  page,
  pages,
  flags,
  pack,
  at,
});

describe('compactPagemap', () => {
  const runs = PageRuns.of([
    run(1, 2, lazy),
    run(3, 1, lazy, 1),
    run(4, 1, lazy, -1),
    run(5, 1, local),
    run(6, 2, local, -1),
    run(9, 1, lazy),
  ]);

  it('joins lazy entries across packs and zeroes, and leaves gaps', () => {
    expect(compactPagemap({ kind: 'pid', id: 10_000, runs }).pagemap).to.deep.equal([
      { page: 1, pages: 4, flags: 2 },
      { page: 5, pages: 3, flags: 4 },
      { page: 9, pages: 1, flags: 2 },
    ]);
  });

  it('lists the pages that must be in a file, in order', () => {
    const { local: listed } = compactPagemap({ kind: 'pid', id: 10_000, runs });
    expect(listed).to.deep.equal([run(5, 1, local), run(6, 2, local, -1)]);
  });

  const names = [
    { kind: 'pid', id: 10_000, name: 'pagemap-10000.img' },
    { kind: 'shmem', id: 3, name: 'pagemap-shmem-3.img' },
  ] as const;
  for (const { kind, id, name } of names) {
    it(`names ${name}`, () => expect(compactPagemap({ kind, id, runs: PageRuns.of([]) }).name).to.equal(name));
  }
});
