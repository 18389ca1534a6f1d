import { expect } from 'chai';
import { AppPhase, OrderKind, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { createAgents, type Agents, type AgentStream } from '../../../../operator/hub/agents.ts';
import { agentState } from '../../../fakes/operator-objects.ts';

const podIdentity = { uid: 'u', namespace: 'ns', name: 'p' };
const hello = { agentVersion: '', criuVersion: '', kernelRelease: '', machine: '', cpuFlags: [], kernelLacks: [] };
const order: Order = {
  kind: OrderKind.ORDER_KIND_CHECKPOINT,
  migrationUid: 'm',
  attempt: 1,
  timeoutMs: 1,
  checkpoint: undefined,
  direct: undefined,
  options: undefined,
};

class Stream implements AgentStream {
  readonly sent: Order[] = [];
  closed: string | undefined;
  send(sent: Order): void {
    this.sent.push(sent);
  }
  close(reason: string): void {
    this.closed = reason;
  }
}

describe('operator/hub/agents', () => {
  let nowMs = 1_000;
  let agents: Agents;
  let changes: number;

  beforeEach(() => {
    agents = createAgents({ now: () => nowMs });
    changes = 0;
    agents.onChange(() => {
      changes += 1;
    });
  });

  it('knows since when an agent is in its phase, and since when it is lost', () => {
    const agent = agents.register(podIdentity, hello, new Stream());
    nowMs = 2_000;
    agent.report(agentState({ phase: AppPhase.APP_PHASE_RUNNING }));
    nowMs = 3_000;
    agent.report(agentState({ phase: AppPhase.APP_PHASE_RUNNING, appPid: 5 }));
    expect(agents.view('u')).to.deep.include({ isConnected: true, phaseSinceMs: 2_000, sinceMs: 1_000 });
    nowMs = 4_000;
    agent.lost();
    expect(agents.view('u')).to.deep.include({ isConnected: false, sinceMs: 4_000 });
    expect(agents.view('u')?.state?.appPid).to.equal(5);
    expect(changes).to.equal(4);
  });

  it('listens to the newest stream of a pod only', () => {
    const older = new Stream();
    const first = agents.register(podIdentity, hello, older);
    const second = agents.register(podIdentity, hello, new Stream());
    expect(older.closed).to.be.a('string');
    first.report(agentState({ phase: AppPhase.APP_PHASE_RUNNING }));
    first.lost();
    expect(agents.view('u')).to.deep.include({ isConnected: true, state: undefined });
    second.lost();
    expect(agents.view('u')?.isConnected).to.equal(false);
  });

  it('does not repeat an order on a stream within seconds, but does later, on a new stream, and for another order', () => {
    const stream = new Stream();
    agents.register(podIdentity, hello, stream);
    agents.order('u', order);
    agents.order('u', order);
    expect(stream.sent).to.have.length(1);
    nowMs += 6_000;
    agents.order('u', order);
    agents.order('u', { ...order, kind: OrderKind.ORDER_KIND_RESUME });
    expect(stream.sent).to.have.length(3);
    const next = new Stream();
    agents.register(podIdentity, hello, next);
    agents.order('u', { ...order, kind: OrderKind.ORDER_KIND_RESUME });
    expect(next.sent).to.have.length(1);
  });

  it('forgets the agent of a pod that is gone', () => {
    const stream = new Stream();
    const agent = agents.register(podIdentity, hello, stream);
    agents.forget('u');
    agent.report(agentState());
    agents.order('u', order);
    expect(agents.view('u')).to.equal(undefined);
    expect(stream.closed).to.be.a('string');
    expect(stream.sent).to.deep.equal([]);
  });
});
