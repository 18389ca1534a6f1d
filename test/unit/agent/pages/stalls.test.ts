import { expect } from 'chai';
import fc from 'fast-check';
import { Stalls } from '../../../../agent/pages/stalls.ts';

describe('Stalls', () => {
  it('says nothing of nothing', () => {
    const stalls = new Stalls();
    expect([stalls.count, stalls.maxUs, stalls.quantileUs(0.99)]).to.deep.equal([0, 0, 0]);
  });

  it('gives percentiles that are never too low, and at most a fifth too high', () => {
    const waits = fc.array(fc.integer({ min: 1, max: 100_000_000 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(waits, fc.constantFrom(0.5, 0.95, 0.99, 1), (us, share) => {
        const stalls = new Stalls();
        for (const wait of us) stalls.add(wait);
        const exact = us.toSorted((a, b) => a - b)[Math.ceil(us.length * share) - 1] ?? 0;
        const given = stalls.quantileUs(share);
        expect(given).to.be.at.least(exact - 1);
        expect(given).to.be.at.most(exact * 1.2 + 1);
        expect(stalls.maxUs).to.equal(Math.max(...us));
      }),
    );
  });

  it('counts waits of about the same length together', () => {
    const stalls = new Stalls();
    for (const us of [1, 1000, 1001, 4000]) stalls.add(us);
    expect(stalls.histogram()).to.deep.equal([
      { upToUs: 1, count: 1 },
      { upToUs: 1024, count: 2 },
      { upToUs: 4096, count: 1 },
    ]);
  });
});
