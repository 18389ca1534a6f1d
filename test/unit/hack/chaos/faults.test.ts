import { expect } from 'chai';
import { faultOf, parseFaults, victims } from '../../../../hack/chaos/faults.ts';

describe('the faults of a campaign', () => {
  const faults = Array.from({ length: 300 }, (_, run) => faultOf(7, run, victims));

  it('follow from the seed and the run', () => {
    expect(Array.from({ length: 300 }, (_, run) => faultOf(7, run, victims))).to.deep.equal(faults);
    expect(faultOf(8, 0, victims)).not.to.deep.equal(faultOf(7, 0, victims));
  });

  it('hit everybody, and everybody in each phase', () => {
    expect(new Set(faults.map(({ victim }) => victim))).to.deep.equal(new Set(victims));
    const phases = faults.filter(({ victim }) => victim === 'source agent').map(({ phase }) => phase);
    expect([...new Set(phases)].toSorted()).to.deep.equal(['commit', 'copy', 'drain', 'freeze', 'prepare', 'restore']);
  });

  it('are chosen by groups', () => {
    expect(parseFaults('agent,store')).to.deep.equal(['source agent', 'target agent', 'store']);
    expect(() => parseFaults('agent,stores')).to.throw(RangeError, 'stores');
  });
});
