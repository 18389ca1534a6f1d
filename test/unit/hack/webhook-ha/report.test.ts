import { expect } from 'chai';
import type { Asked } from '../../../../hack/webhook-ha/load.ts';
import { isGood, toSummary, toTable, type Run } from '../../../../hack/webhook-ha/report.ts';

const asked = (atMs: number, tookMs: number, outcome: Asked['outcome'] = 'injected', isReal = false): Asked => ({
  ...{ atMs, tookMs, outcome, isReal },
});
const run: Run = {
  asked: [asked(0, 10, 'injected', true), asked(900, 200), asked(1500, 30, 'refused'), asked(2500, 20, 'not injected')],
  happened: [{ what: 'restart', fromMs: 1000, toMs: 2000 }],
};

describe('report of the campaign against the webhook', () => {
  it('counts under an event what was asked or answered while it went on', () => {
    expect(toTable(run).split('\n')).to.deep.equal([
      'while            from s  to s  asked  refused  not injected  p50 ms  p99 ms  max ms',
      'restart             1.0   2.0      2        1             0   115.0   200.0   200.0',
      'nothing happens                    2        0             1    15.0    20.0    20.0',
      'all                 0.0   2.5      4        1             1    25.0   200.0   200.0',
    ]);
  });

  it('is good when nothing failed', () => {
    expect(toSummary(run)).to.equal('4 asked (1 stored), 2 failed');
    expect(isGood(run)).to.equal(false);
    const [first, second] = run.asked;
    const good = { ...run, asked: [first, second].filter((one) => one !== undefined) };
    expect(isGood(good)).to.equal(true);
    const broken = { ...good, happened: [{ what: 'restart', fromMs: 1, toMs: 2, failure: 'no replica' }] };
    expect(isGood(broken)).to.equal(false);
    expect(toSummary(broken)).to.equal('2 asked (1 stored), 0 failed\nrestart: no replica');
  });

  it('is a table also when nothing was asked', () => expect(toTable({ asked: [], happened: [] })).to.include('all'));
});
