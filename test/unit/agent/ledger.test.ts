import { expect } from 'chai';
import { createLedger } from '../../../agent/ledger.ts';
import type { AgentState } from '../../../proto/gen/agent/v1/agent.ts';

function setUp() {
  const reports: AgentState[] = [];
  const ledger = createLedger({
    journal: { read: async () => undefined, write: async () => undefined },
    first: { role: 'serving', stopped: [], draining: false },
    directPort: () => 0,
    directBytes: () => 0,
    report: (state) => void reports.push(state),
  });
  return { ledger, reports, last: () => reports.at(-1)?.stored?.ids };
}

const taken = (id: string) => ({ checkpoint: { id, manifestKey: 'k', manifestSha256: 's' } });

describe('the checkpoints that an agent tells of', () => {
  it('are not known before it has looked', async () => {
    const { ledger, last } = setUp();
    await ledger.change(taken('a'));
    expect(last()).to.equal(undefined);
  });

  it('are those it has found, and each that is added, in the same word as that', async () => {
    const { ledger, reports, last } = setUp();
    ledger.setStored(['a', 'b']);
    expect(last()).to.deep.equal(['a', 'b']);
    await ledger.change(taken('c'));
    expect(last()).to.deep.equal(['a', 'b', 'c']);
    expect(
      reports.every(({ stored, checkpoint }) => checkpoint === undefined || stored?.ids.includes(checkpoint.id)),
    ).to.equal(true);
    await ledger.change({ draining: false });
    expect(last()).to.deep.equal(['a', 'b', 'c']);
    ledger.setStored(['c']);
    expect(last()).to.deep.equal(['c']);
  });
});
