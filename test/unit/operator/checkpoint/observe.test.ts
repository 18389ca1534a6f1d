import { expect } from 'chai';
import type { Checkpoint, CheckpointStatus } from '../../../../proto/checkpoint.ts';
import { AppPhase, type AgentState } from '../../../../proto/gen/agent/v1/agent.ts';
import { labels } from '../../../../proto/names.ts';
import { migrationOf, observe, type Sources } from '../../../../operator/checkpoint/observe.ts';
import type { Cache } from '../../../../operator/kube/informer.ts';
import { keyOf, type KubeObject, type Pod } from '../../../../operator/kube/objects.ts';
import { doneUpTo } from '../../../fakes/migration-worlds.ts';
import { checkpoint, startMs } from '../../../fakes/checkpoint-worlds.ts';
import * as given from '../../../fakes/operator-objects.ts';

function cacheOf<T extends KubeObject>(objects: readonly unknown[]): Cache<T> {
  const all = objects as readonly T[];
  return {
    get: (key) => all.find((each) => keyOf(each) === key),
    byUid: (uid) => all.find(({ metadata }) => metadata.uid === uid),
    list: () => all,
  };
}

const second = (i: number): string => new Date(startMs + i * 1_000).toISOString();
const point = (name: string, at: number, status: CheckpointStatus = {}, podName = name): Checkpoint => ({
  ...checkpoint(status, { name, uid: name, creationTimestamp: second(at), labels: { [labels.intervalOf]: 'x' } }),
  spec: { podName },
});
const podOn = (name: string, nodeName: string): Pod =>
  given.pod({ metadata: { name, uid: `pod-${name}` }, spec: { nodeName } });
const condition = (type: 'Started' | 'Completed', status: 'True' | 'False') =>
  ({ type, status, reason: 'R', message: 'm', lastTransitionTime: second(0), observedGeneration: 1 }) as const;
const running = (node: string, pod: string): CheckpointStatus => ({
  source: { pod, uid: `pod-${pod}`, node },
  conditions: [condition('Started', 'True')],
});
const over = (status: 'True' | 'False', instance?: string): CheckpointStatus => ({
  conditions: [condition('Completed', status)],
  ...(instance !== undefined && { instance, id: 'point' }),
});

function seen(
  name: string,
  world: {
    readonly checkpoints: readonly Checkpoint[];
    readonly pods?: readonly Pod[];
    readonly migrations?: readonly unknown[];
    readonly agents?: Readonly<Record<string, AgentState>>;
  },
) {
  const sources: Sources = {
    checkpoints: cacheOf(world.checkpoints),
    migrations: cacheOf(world.migrations ?? []),
    pods: cacheOf(world.pods ?? [podOn('a', 'n1'), podOn('b', 'n1'), podOn('c', 'n2')]),
    replicaSets: cacheOf([given.replicaSet()]),
    jobs: cacheOf([]),
    agents: { view: (uid) => given.view(world.agents?.[uid] ?? given.agentState()) },
    canRelease: true,
    ttlSeconds: 1,
  };
  const found = observe(`default/${name}`, sources);
  if (found === undefined) throw new Error(`nothing is seen of ${name}`);
  return found;
}

describe('operator/checkpoint/observe', () => {
  const turns: readonly { readonly name: string; readonly others: readonly Checkpoint[]; readonly has: boolean }[] = [
    { name: 'alone', others: [], has: true },
    { name: 'while another of the node is under way', others: [point('b', 9, running('n1', 'b'))], has: false },
    { name: 'while one of another node is under way', others: [point('c', 0, running('n2', 'c'))], has: true },
    { name: 'when another came first', others: [point('b', 0)], has: false },
    { name: 'when another came later', others: [point('b', 9)], has: true },
    { name: 'when another is over', others: [point('b', 0, over('True'))], has: true },
    { name: 'when the pod of the other is gone', others: [point('b', 0, {}, 'gone')], has: true },
  ];
  for (const { name, others, has } of turns) {
    it(`${name} it ${has ? 'has' : 'does not have'} its turn`, () => {
      expect(seen('a', { checkpoints: [point('a', 5), ...others] }).hasTurn).to.equal(has);
    });
  }

  it('another that could not begin now holds nobody up', () => {
    const waiting = given.agentState({ phase: AppPhase.APP_PHASE_WAITING });
    const checkpoints = [point('a', 5), point('b', 0)];
    expect(seen('a', { checkpoints, agents: { 'pod-b': waiting } }).hasTurn).to.equal(true);
  });

  it('knows from the agent that serves the instance what is stored, and from no other', () => {
    const instance = 'pod-a';
    const one = point('a', 0, over('True', instance));
    const ask = (phase: AppPhase, ids: string[] | undefined) => {
      const state = given.agentState({ phase, ...(ids && { stored: { ids } }) });
      const { isServed, isStored } = seen('a', { checkpoints: [one], agents: { 'pod-a': state } });
      return [isServed, isStored];
    };
    expect(ask(AppPhase.APP_PHASE_RUNNING, undefined)).to.deep.equal([true, undefined]);
    expect(ask(AppPhase.APP_PHASE_RUNNING, ['point'])).to.deep.equal([true, true]);
    expect(ask(AppPhase.APP_PHASE_RUNNING, ['other'])).to.deep.equal([true, false]);
    expect(ask(AppPhase.APP_PHASE_MOVED, ['other'])).to.deep.equal([false, undefined]);
  });

  it('one of an interval is superseded by the next of its instance, on whatever pod', () => {
    const failed = point('a', 0, over('False', 'i'));
    const ask = (...others: readonly Checkpoint[]) => seen('a', { checkpoints: [failed, ...others] }).isSuperseded;
    expect(ask(point('b', 9, over('True', 'i'))), 'a later one').to.equal(true);
    expect(ask(point('b', 9, over('True', 'another'))), 'of another instance').to.equal(false);
    expect(ask(point('b', 9, running('n1', 'b'))), 'under way').to.equal(false);
  });

  it('is in use while an unfinished Migration of its instance may restore from it', () => {
    const checkpoints = [point('a', 0, over('True', given.sourceUid))];
    const ask = (instance: string) => {
      const status = doneUpTo('Committed', { instance });
      return seen('a', { checkpoints, migrations: [given.migration({ status })] }).isInUse;
    };
    expect([ask(given.sourceUid), ask('another')]).to.deep.equal([true, false]);
  });

  it('a Migration that only waits for the last pages moves the pod still', () => {
    const migrations = cacheOf<KubeObject>([
      given.migration({ status: doneUpTo('CutOver', { target: { uid: 'pod-a' } }) }),
    ]);
    expect(migrationOf(podOn('a', 'n1'), migrations)).to.equal('move-web');
    expect(migrationOf(podOn('b', 'n1'), migrations)).to.equal(undefined);
  });
});
