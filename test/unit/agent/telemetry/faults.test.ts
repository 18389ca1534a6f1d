import { expect } from 'chai';
import { Faults } from '../../../../agent/telemetry/faults.ts';
import { sourceLog, targetLog } from '../../../../agent/telemetry/figures.ts';

const how = { strategy: 'lazy-hybrid', off: ['delta'], freezeBudgetMs: 7 };
const counts = {
  servedPages: 9,
  faults: 2,
  faultPages: 2,
  stallP50Us: 0,
  stallP95Us: 0,
  stallP99Us: 0,
  stallMaxUs: 0,
  aheadHits: 3,
  aheadMisses: 1,
  directFaults: 1,
  hotPages: 2,
};
const moved = { pageBytes: 1, storedBytes: 2, fileBytes: 3, tookMs: 4, timeline: [{ step: 'a', ms: 4 }] };

describe('agent/telemetry', () => {
  it('tells the faults apart by where their pages were', () => {
    const faults = new Faults();
    faults.add('direct', 100);
    faults.add('store', 20_000);
    faults.add('store', 30_000);
    const { all, bySource } = faults.figures();
    expect([all.count, bySource.direct.count, bySource.store.count, bySource.zero.count]).to.deep.equal([3, 1, 2, 0]);
    expect([all.maxUs, bySource.direct.maxUs]).to.deep.equal([30_000, 100]);
    expect(bySource.zero).to.deep.equal({ count: 0, p50Us: 0, p95Us: 0, p99Us: 0, maxUs: 0, histogram: [] });
    expect(faults.countOf('store')).to.equal(2);
  });

  it('writes down what the target has measured', () => {
    const faults = new Faults();
    faults.add('ahead', 10);
    const { name, content } = targetLog({ ...moved, drainMs: 5, counts, faults: faults.figures() }, how);
    expect(name).to.equal('target.json');
    const said: unknown = JSON.parse(content.toString());
    expect(said).to.deep.include({
      strategy: 'lazy-hybrid',
      off: ['delta'],
      drainMs: 5,
      pagesPerFault: 1,
      prefetch: { hits: 3, misses: 1, hitRate: 0.75 },
    });
    expect(said).not.to.have.property('freezeBudgetMs');
  });

  it('writes down what the source has measured', () => {
    const liveRounds = [{ changedBytes: 5, tookMs: 6 }];
    const { name, content } = sourceLog({ ...moved, freezeMs: 7, rounds: 1, liveRounds }, how);
    expect(name).to.equal('source.json');
    expect(JSON.parse(content.toString())).to.deep.include({ freezeMs: 7, liveRounds });
  });
});
