import { expect } from 'chai';
import fc from 'fast-check';
import { nextRound, rateOf, type Round } from '../../../../agent/memory/rounds.ts';

const mib = 1024 * 1024;
const round = (changedMib: number, tookMs: number): Round => ({ changedBytes: changedMib * mib, tookMs });

describe('nextRound', () => {
  const limits = { budgetMs: 100, maxRounds: 5 };
  const cases: { name: string; history: Round[]; why: string }[] = [
    { name: 'begins', history: [], why: 'go' },
    { name: 'goes on after a first round that stored much', history: [round(1024, 4000)], why: 'go' },
    { name: 'stops when the rest fits', history: [round(1024, 4000), round(20, 300)], why: 'fits' },
    { name: 'stops when nothing has changed', history: [round(1024, 4000), round(0, 100)], why: 'fits' },
    {
      name: 'counts what is left to the freeze',
      history: [round(1024, 4000), { ...round(20, 300), excludedBytes: 20 * mib }],
      why: 'go',
    },
    { name: 'goes on while it shrinks', history: [round(1024, 4000), round(400, 2000)], why: 'go' },
    { name: 'stops when it does not shrink', history: [round(1024, 4000), round(1000, 4000)], why: 'does not shrink' },
    {
      name: 'stops after enough rounds',
      history: [round(4096, 16000), round(2048, 8000), round(1024, 4000), round(512, 2000), round(256, 1000)],
      why: 'enough rounds',
    },
  ];
  for (const { name, history, why } of cases) {
    it(name, () => {
      const next = nextRound(history, limits, rateOf(history));
      expect(next.go ? 'go' : next.why).to.equal(why);
    });
  }

  it('makes no round when none is allowed', () => {
    expect(nextRound([], { budgetMs: 100, maxRounds: 0 }, 1)).to.deep.equal({ go: false, why: 'enough rounds' });
  });

  it('ends for every application', () => {
    const rounds = fc.array(fc.record({ changedBytes: fc.nat(), tookMs: fc.nat() }), { minLength: 5, maxLength: 9 });
    fc.assert(fc.property(rounds, (history) => !nextRound(history, limits, rateOf(history)).go));
  });
});

describe('rateOf', () => {
  it('is that of the best round of some size, and modest while there was none', () => {
    expect(rateOf([round(1, 1), round(100, 1000), round(64, 320)])).to.equal((64 * mib) / 320);
    expect(rateOf([round(1, 1)])).to.equal(100_000);
  });
});
