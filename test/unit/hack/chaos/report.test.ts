import { expect } from 'chai';
import { toSummary, toTable, type Entry } from '../../../../hack/chaos/report.ts';

const entry = (run: number, change: Partial<Entry>): Entry => ({
  run,
  fault: { victim: 'store', phase: 'freeze', afterMs: 1, pauseMs: 1 },
  strategy: 'full',
  struckIn: 'freeze',
  outcome: 'moved',
  failure: undefined,
  rewinds: 0,
  wrong: [],
  moveMs: 1,
  tookMs: 1,
  heirUid: 'u',
  ...change,
});

describe('the report of a campaign', () => {
  const entries = [entry(0, {}), entry(1, { wrong: ['3 wrong pages'] }), entry(2, { struckIn: undefined })];

  it('counts by fault, phase and outcome', () => {
    expect(toTable(entries).split('\n')).to.deep.equal([
      'fault  killed in  outcome  runs  wrong',
      'store  (not met)  moved    1     0',
      'store  freeze     moved    2     1',
    ]);
  });

  it('ends with one line', () => expect(toSummary(entries)).to.equal('3 runs, 1 wrong'));
});
