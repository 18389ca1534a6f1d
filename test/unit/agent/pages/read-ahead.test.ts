import { expect } from 'chai';
import { nextPacks } from '../../../../agent/pages/read-ahead.ts';

const run = (page: number, pack: number) => ({ page, pages: 10, flags: 6, pack, at: 0 });

describe('nextPacks', () => {
  const one = [run(0, 0), run(10, 1), run(20, 0), run(30, -1), run(40, 2)];
  const two = [run(0, 7), run(10, 8)];
  const cases = [
    { name: 'each once, in the order of the pages', cursors: [{ runs: one, page: 0 }], count: 9, packs: [0, 1, 2] },
    { name: 'from where the process is', cursors: [{ runs: one, page: 15 }], count: 9, packs: [1, 0, 2] },
    { name: 'no more than asked for', cursors: [{ runs: one, page: 0 }], count: 2, packs: [0, 1] },
    {
      name: 'of all processes in turn',
      cursors: [
        { runs: one, page: 0 },
        { runs: two, page: 0 },
      ],
      count: 9,
      packs: [0, 7, 1, 8, 2],
    },
    { name: 'none behind the end', cursors: [{ runs: one, page: 50 }], count: 9, packs: [] },
    { name: 'none of no process', cursors: [], count: 9, packs: [] },
    { name: 'none when nothing is read ahead', cursors: [{ runs: one, page: 0 }], count: 0, packs: [] },
  ];
  for (const { name, cursors, count, packs } of cases) {
    it(name, () => expect(nextPacks(cursors, count)).to.deep.equal(packs));
  }
});
