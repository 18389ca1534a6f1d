import { expect } from 'chai';
import { roundLimits } from '../../../../agent/orders/precopy.ts';

describe('roundLimits', () => {
  it('leaves a third of the freeze to storing what changed last', () => {
    expect(roundLimits(undefined, 4)).to.deep.equal({ budgetMs: 100, maxRounds: 4, excludesHot: true });
    expect(roundLimits({ strategy: '', freezeBudgetMs: 0, off: [], logUpload: false }, 4)).to.deep.equal({
      budgetMs: 100,
      maxRounds: 4,
      excludesHot: true,
    });
    expect(roundLimits({ strategy: '', freezeBudgetMs: 900, off: [], logUpload: false }, 4)).to.deep.equal({
      budgetMs: 300,
      maxRounds: 4,
      excludesHot: true,
    });
  });

  it('excludes nothing when that is switched off', () => {
    const options = { strategy: '', freezeBudgetMs: 0, off: ['hotExclusion'], logUpload: false };
    expect(roundLimits(options, 4).excludesHot).to.equal(false);
  });

  it('copies nothing ahead without the delta', () => {
    expect(roundLimits({ strategy: '', freezeBudgetMs: 0, off: ['delta'], logUpload: false }, 4).maxRounds).to.equal(0);
  });
});
