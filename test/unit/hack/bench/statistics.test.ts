import { expect } from 'chai';
import fc from 'fast-check';
import { median, medianLaps, quantile, quantileOfSlow, summarize } from '../../../../hack/bench/statistics.ts';

const values = fc.array(fc.integer(), { minLength: 1 });

describe('statistics of benchmarks', () => {
  const oneTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  const cases = [
    { of: oneTo(1), q: 0.5, is: 1 },
    { of: oneTo(4), q: 0.5, is: 2 },
    { of: oneTo(20), q: 0.99, is: 20 },
    { of: oneTo(100), q: 0.99, is: 99 },
    { of: [3, 1, 2], q: 1, is: 3 },
    { of: [3, 1, 2], q: 0.01, is: 1 },
  ];
  for (const { of, q, is } of cases) {
    it(`quantile ${q} of ${of.length} values is ${is}`, () => expect(quantile(of, q)).to.equal(is));
  }

  it('a quantile was measured, and rises with q', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 0.01, max: 1, noNaN: true }), (list, q) => {
        expect(list).to.include(quantile(list, q));
        expect(quantile(list, q)).to.be.at.most(quantile(list, 1));
      }),
    );
  });

  it('the median is in the middle, and does not depend on the order', () => {
    expect(median([5])).to.equal(5);
    expect(median([1, 9])).to.equal(5);
    expect(median([9, 1, 2])).to.equal(2);
    fc.assert(
      fc.property(values, (list) => {
        expect(median(list)).to.equal(median(list.toReversed()));
      }),
    );
  });

  it('refuses to speak of nothing', () => {
    expect(() => summarize([])).to.throw(RangeError);
    expect(() => quantile([], 0.5)).to.throw(RangeError);
    expect(() => quantile([1], 0)).to.throw(RangeError);
    expect(() => quantile([1], 1.1)).to.throw(RangeError);
  });

  it('summarizes', () => {
    expect(summarize([40, 10, 30, 20])).to.deep.equal({ n: 4, p50: 25, p99: 40, max: 40 });
  });

  it('takes the median of each step, in the order in which the steps appear', () => {
    const runs = [
      [
        { step: 'dump', ms: 10 },
        { step: 'upload', ms: 5 },
      ],
      [
        { step: 'dump', ms: 20 },
        { step: 'retry', ms: 1 },
        { step: 'upload', ms: 7 },
      ],
    ];
    expect(medianLaps(runs)).to.deep.equal([
      { step: 'dump', ms: 15 },
      { step: 'upload', ms: 6 },
      { step: 'retry', ms: 1 },
    ]);
  });

  it('knows a quantile when only the slow measurements were kept', () => {
    const all = oneTo(1000);
    const slow = all.filter((value) => value > 900);
    for (const q of [0.95, 0.99, 1]) expect(quantileOfSlow(slow, 1000, 900, q)).to.equal(quantile(all, q));
    expect(quantileOfSlow(slow, 1000, 900, 0.5)).to.equal(900);
    expect(quantileOfSlow([], 10, 1, 1)).to.equal(1);
    expect(() => quantileOfSlow([], 10, 1, 0)).to.throw(RangeError);
  });
});
