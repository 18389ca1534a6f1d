import { OrderKind, OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import { isRunning } from '../hub/agents.ts';
import { generationOf, instanceOf } from '../hub/welcome.ts';
import { controllerOf, hasEnded, isTerminating, type Pod } from '../kube/objects.ts';
import { codeOf } from './conditions.ts';
import { failOf, findingsOf, type Finding } from './findings.ts';
import { imagesMissing, nodeFindings } from './node-fit.ts';
import { done, fail, wait, type Fail, type StepResult } from './step.ts';
import { volumeFindings } from './volumes.ts';
import { attempt, chosenContainer, isInjected, sendOrder, wordOn, type World } from './world.ts';

const preflightMs = 30_000;

/** The pod may move, and its agent found nothing that forbids it. Changes nothing in the pod. */
export function accepted(world: World): StepResult {
  const { source, sourceAgent } = world;
  if (source === undefined || isTerminating(source) || hasEnded(source)) {
    return fail('SOURCE_GONE', `pod ${world.migration.spec.podName} does not exist or is ending`);
  }
  const refusal = refusalOf(world, source);
  if (refusal !== undefined) return refusal;

  const { nodeName } = source.spec;
  if (nodeName === undefined) return wait('APP_NOT_RUNNING', 'NotScheduled', 'the pod is on no node yet');

  const owner = world.replicaSet === undefined ? undefined : controllerOf(world.replicaSet);
  const patch = {
    attempt,
    source: { pod: source.metadata.name, uid: source.metadata.uid, node: nodeName },
    instance: instanceOf(source),
    generation: generationOf(source) + 1,
    ...(owner === undefined ? {} : { workload: { kind: owner.kind, name: owner.name } }),
  };
  if (world.replicaSet === undefined) {
    return wait('OWNER_UNSUPPORTED', 'OwnerUnknown', 'the ReplicaSet of the pod is not known yet', { patch });
  }
  if (sourceAgent?.isConnected !== true) {
    return wait('AGENT_LOST', 'AgentNotConnected', `the agent of pod ${source.metadata.name} is not connected`, {
      patch,
    });
  }
  if (sourceAgent.state?.draining === true) {
    return wait('DRAINING', 'Draining', 'the memory of the process is still arriving from its last move', { patch });
  }
  const word = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_PREFLIGHT);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    return fail(codeOf(word.failure?.code), word.failure?.message ?? 'the preflight check failed');
  }
  if (word?.status === OrderStatus.ORDER_STATUS_DONE) {
    const obstacles = failOf([...podFindings(world, source), ...findingsOf(word)]);
    if (obstacles !== undefined) return obstacles;
    const movable = `pod ${source.metadata.name} on node ${nodeName} can be moved`;
    // stored first: the name of the target follows from it, and whoever rolls back must find every target that may exist
    return done('Movable', movable + pullNote(world, source), { patch, isBarrier: true });
  }
  if (!isRunning(sourceAgent)) {
    return wait('APP_NOT_RUNNING', 'AppNotRunning', 'the application does not run yet', { patch });
  }
  const { state } = sourceAgent;
  if (state?.status === OrderStatus.ORDER_STATUS_WORKING && state.migrationUid !== world.migration.metadata.uid) {
    return wait('AGENT_LOST', 'Busy', 'the agent ends an order that came before', { patch });
  }
  return wait('AGENT_LOST', 'Checking', 'the agent looks for what cannot be moved', {
    patch,
    actions: [sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_PREFLIGHT, { timeoutMs: preflightMs })],
  });
}

/** What stands against a second pod like the source beside it. */
function podFindings({ claims, namedNode }: World, { spec }: Pod): readonly Finding[] {
  return [...volumeFindings(spec, claims), ...(namedNode === undefined ? [] : nodeFindings(spec, namedNode))];
}

function pullNote({ namedNode }: World, { spec }: Pod): string {
  const missing = namedNode === undefined ? [] : imagesMissing(spec, namedNode.node);
  return missing.length === 0 ? '' : `; node ${namedNode?.name} pulls ${missing.join(', ')} first`;
}

function refusalOf(world: World, source: Pod): Fail | undefined {
  const name = source.metadata.name;
  if (!isInjected(source)) return fail('NOT_INJECTED', `pod ${name} has no agent`);
  if (chosenContainer(source) === undefined) {
    return fail('NOT_INJECTED', `pod ${name} does not say which container moves`);
  }
  const owner = controllerOf(source);
  if (owner?.kind !== 'ReplicaSet' || (world.replicaSet !== undefined && !world.isOfDeployment)) {
    return fail('OWNER_UNSUPPORTED', `pod ${name} belongs to ${owner === undefined ? 'nothing' : `a ${owner.kind}`}`);
  }
  if (world.otherMigration !== undefined) {
    return fail('MIGRATION_CONFLICT', `Migration ${world.otherMigration} moves pod ${name} already`);
  }
  return undefined;
}
