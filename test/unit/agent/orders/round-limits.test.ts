import { expect } from 'chai';
import { roundLimits } from '../../../../agent/orders/precopy.ts';

describe('roundLimits', () => {
  it('leaves a third of the freeze to storing what changed last', () => {
    expect(roundLimits(undefined, 4)).to.deep.equal({ budgetMs: 100, maxRounds: 4 });
    expect(roundLimits({ strategy: '', freezeBudgetMs: 0, off: [] }, 4)).to.deep.equal({ budgetMs: 100, maxRounds: 4 });
    expect(roundLimits({ strategy: '', freezeBudgetMs: 900, off: [] }, 4)).to.deep.equal({
      budgetMs: 300,
      maxRounds: 4,
    });
  });

  it('copies nothing ahead without the delta', () => {
    expect(roundLimits({ strategy: '', freezeBudgetMs: 0, off: ['delta'] }, 4).maxRounds).to.equal(0);
  });
});
