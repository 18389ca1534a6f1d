import { expect } from 'chai';
import { cutPlace, firstPlaceFrom, Places } from '../../../../agent/pages/places.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';

const run = (page: number, pages: number, pack: number, at: number) => ({ page, pages, flags: 6, pack, at });

describe('Places', () => {
  const processes = new Map([
    [7, PageRuns.of([run(10, 2, 0, 30), run(20, 1, 1, 0), run(40, 4, 0, 10)])],
    [8, PageRuns.of([run(10, 5, 0, 20)])],
  ]);
  const places = new Places(processes);

  it('are of all processes, as they lie in the pack', () => {
    expect([...places.packs]).to.have.members([0, 1]);
    expect(places.of(0)).to.deep.equal([
      { pid: 7, run: run(40, 4, 0, 10) },
      { pid: 8, run: run(10, 5, 0, 20) },
      { pid: 7, run: run(10, 2, 0, 30) },
    ]);
    expect(places.of(5)).to.deep.equal([]);
  });

  it('are there again when their pack was done', () => {
    const before = places.of(0);
    expect(places.of(0)).to.equal(before);
    places.done(0);
    expect(places.of(0)).to.deep.equal(before);
  });

  it('are found by a page of the pack', () => {
    const of = places.of(0);
    const found = [0, 13, 14, 24, 25, 31, 32].map((page) => firstPlaceFrom(of, page));
    expect(found).to.deep.equal([0, 0, 1, 1, 2, 2, 3]);
  });

  it('are cut where a frame ends', () => {
    const place = { pid: 8, run: run(10, 5, 0, 20) };
    expect(cutPlace(place, 22, 64)).to.deep.equal({ pid: 8, run: run(12, 3, 0, 22) });
    expect(cutPlace(place, 0, 22)).to.deep.equal({ pid: 8, run: run(10, 2, 0, 20) });
  });
});
