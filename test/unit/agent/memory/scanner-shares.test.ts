import { expect } from 'chai';
import { nextOf, sharesOf } from '../../../../agent/memory/scanner.ts';

describe('the shares of scanning threads', () => {
  it('are neighbours, and all there is', () => {
    expect(sharesOf([1, 2, 3, 4, 5, 6, 7], 3)).to.deep.equal([
      [1, 2],
      [3, 4, 5],
      [6, 7],
    ]);
    expect(sharesOf([1], 2).flat()).to.deep.equal([1]);
    expect(sharesOf([], 2)).to.deep.equal([[], []]);
  });

  it('are done in order, and then the end of what others have left', () => {
    const shares = sharesOf([1, 2, 3, 4, 5, 6], 2);
    const done = [0, 0, 0, 0, 1, 0, 1].map((thread) => nextOf(shares, thread));
    expect(done).to.deep.equal([1, 2, 3, 6, 4, 5, undefined]);
  });
});
