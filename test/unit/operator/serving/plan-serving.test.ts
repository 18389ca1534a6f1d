import { expect } from 'chai';
import { annotations, servingGate } from '../../../../proto/names.ts';
import { AppPhase } from '../../../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import { planServing, type ServingInput } from '../../../../operator/serving/plan-serving.ts';
import type { Pod } from '../../../../operator/kube/objects.ts';
import { agentState, pod, target, view } from '../../../fakes/operator-objects.ts';

const committed: MigrationStatus = {
  conditions: [
    {
      type: 'Committed',
      status: 'True',
      reason: 'Decided',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
      observedGeneration: 1,
    },
  ],
};
const running = view(agentState({ phase: AppPhase.APP_PHASE_RUNNING }));
const waiting = view(agentState({ phase: AppPhase.APP_PHASE_WAITING }));
const frozen = view(agentState({ phase: AppPhase.APP_PHASE_FROZEN }));
const moved = view(agentState({ phase: AppPhase.APP_PHASE_MOVED }));

function gated(value: Pod, status: string): Pod {
  return { ...value, status: { conditions: [{ type: servingGate, status }] } };
}
const adopted = target({ metadata: { ...target().metadata, ownerReferences: pod().metadata.ownerReferences ?? [] } });
const ending = pod({ metadata: { ...pod().metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });

interface Case extends Partial<ServingInput> {
  readonly name: string;
  readonly expected: 'True' | 'False' | undefined;
}

const cases: readonly Case[] = [
  { name: 'the application runs', agent: running, expected: 'True' },
  { name: 'the application runs and the gate is True', pod: gated(pod(), 'True'), agent: running, expected: undefined },
  { name: 'no agent yet', agent: undefined, expected: undefined },
  { name: 'the application is not started yet', agent: waiting, expected: undefined },
  { name: 'it crashed and starts again', pod: gated(pod(), 'True'), agent: waiting, expected: undefined },
  { name: 'it is frozen before the commit', pod: gated(pod(), 'True'), agent: frozen, expected: undefined },
  { name: 'the agent was lost', agent: view(running.state, { isConnected: false }), expected: undefined },
  {
    name: 'a source after the commit',
    pod: gated(pod(), 'True'),
    agent: frozen,
    asSource: [committed],
    expected: 'False',
  },
  { name: 'a source whose move failed before the commit', agent: running, asSource: [{}], expected: 'True' },
  { name: 'a source that has moved', pod: gated(pod(), 'True'), agent: moved, expected: 'False' },
  { name: 'a target that waits', pod: target(), agent: waiting, asTarget: {}, expected: undefined },
  {
    name: 'a target that says it runs before the commit',
    pod: target(),
    agent: running,
    asTarget: {},
    expected: undefined,
  },
  {
    name: 'a target of a Migration that is gone',
    pod: target(),
    agent: running,
    asTarget: undefined,
    expected: undefined,
  },
  {
    name: 'a target after the commit, not continued yet',
    pod: target(),
    agent: waiting,
    asTarget: committed,
    expected: undefined,
  },
  { name: 'a target that runs after the commit', pod: target(), agent: running, asTarget: committed, expected: 'True' },
  { name: 'a target that was adopted, its Migration long gone', pod: adopted, agent: running, expected: 'True' },
  { name: 'a pod that is ending', pod: ending, agent: running, expected: undefined },
  { name: 'a pod without our gate', pod: pod({ spec: { readinessGates: [] } }), agent: running, expected: undefined },
];

describe('operator/serving/plan-serving', () => {
  for (const { name, expected, ...given } of cases) {
    it(`${name}: ${expected ?? 'as it is'}`, () => {
      const input: ServingInput = { pod: pod(), agent: undefined, asSource: [], asTarget: undefined, ...given };
      expect(planServing(input)?.status).to.equal(expected);
    });
  }
  it('a target carries the mark that the cases are about', () => {
    expect(target().metadata.annotations).to.have.property(annotations.restore);
  });
});
