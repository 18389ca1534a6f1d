import { errorKinds } from '../../proto/errors.ts';
import { annotations, podDeletionCost, podTemplateHash } from '../../proto/names.ts';
import { AppPhase, OrderKind, OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../proto/migration.ts';
import {
  controllerOf,
  hasRunningContainers,
  isContainerStarted,
  isReady,
  isTerminating,
  type Pod,
} from '../kube/objects.ts';
import { codeOf, conditionOf } from './conditions.ts';
import { optionsOf } from './copy-ahead.ts';
import { done, fail, wait, type StepResult } from './step.ts';
import { chosenContainer, refOf, sendOrder, wordOn, type Action, type World } from './world.ts';

/** The source's Ready condition follows its gate through the kubelet; a node that is gone updates it late or never. */
const unreadyWithinMs = 20_000;
/** How long the source's agent may take; then the cutover goes on without its word. */
const retireWithinMs = 30_000;
/** How long the ReplicaSet may take to remove the source before we do. */
const removeWithinMs = 10_000;
/** A restore after the commit has no other deadline. */
const restoreAgainMs = 600_000;
/** Past the end of its grace period a pod should be gone; when it is not, its kubelet does not answer. */
export const overdueMs = 10_000;

/** The process runs in the target and the target pod is Ready. */
export function verified(world: World): StepResult {
  const { target, targetAgent } = world;
  if (target === undefined) return fail('TARGET_LOST', 'the target pod ended after the commit');
  const word = wordOn(world, targetAgent, OrderKind.ORDER_KIND_CONTINUE);
  const patch = downtime(world);
  if (word?.status !== OrderStatus.ORDER_STATUS_DONE) {
    const isLost = targetAgent?.isConnected === true && targetAgent.state?.phase === AppPhase.APP_PHASE_WAITING;
    if (isLost) return restoreAgain(world);
    const order = sendOrder(world, target.metadata.uid, OrderKind.ORDER_KIND_CONTINUE);
    return wait('TARGET_LOST', 'Continuing', 'the process is being continued in the target', {
      patch,
      actions: targetAgent?.isConnected === true ? [order] : [],
    });
  }
  if (!isReady(target)) {
    return wait('TARGET_NOT_READY', 'TargetNotReady', 'the process runs; the target pod is not Ready yet', {
      patch,
      actions: wakeKubelet(target),
    });
  }
  return done('Ready', `pod ${target.metadata.name} runs the process and is Ready`, { patch });
}

function wakeKubelet(target: Pod): readonly Action[] {
  const container = chosenContainer(target);
  const isDue = container !== undefined && isContainerStarted(target, container);
  const isWoken = target.metadata.annotations?.[annotations.started] !== undefined;
  return isDue && !isWoken ? [{ kind: 'WakeKubelet', pod: refOf(target) }] : [];
}

/**
 * The restored process was lost before it was continued, as when its container was restarted. Nobody has seen it run and its
 * checkpoint is complete: it is restored again, unless that cannot help.
 */
function restoreAgain(world: World): StepResult {
  const { target, targetAgent, migration } = world;
  const { checkpoint } = migration.status;
  if (target === undefined || checkpoint === undefined) return fail('TARGET_LOST', 'the target pod is gone');
  const word = wordOn(world, targetAgent, OrderKind.ORDER_KIND_RESTORE);
  const code = codeOf(word?.failure?.code);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED && !errorKinds[code].retryable) {
    return fail(code, word.failure?.message ?? 'the restore failed');
  }
  const { id, manifestKey, manifestSha256 } = checkpoint;
  const order = sendOrder(world, target.metadata.uid, OrderKind.ORDER_KIND_RESTORE, {
    checkpoint: { id, manifestKey, manifestSha256 },
    options: optionsOf(world),
    timeoutMs: restoreAgainMs,
  });
  return wait('TARGET_LOST', 'RestoringAgain', 'the process was lost before it was continued; it is restored again', {
    actions: word?.status === OrderStatus.ORDER_STATUS_WORKING ? [] : [order],
  });
}

/** The source is ended, and the ReplicaSet has the target in its place. */
export function cutOver(world: World, nowMs: number): StepResult {
  const { source, target } = world;
  if (target === undefined) return fail('TARGET_LOST', 'the target pod ended after the commit');
  if (controllerOf(target) === undefined) return handOver(world, target, nowMs);
  // The object itself may outlive its containers by a kubelet's next look, 10 s later: nothing depends on that.
  if (source === undefined || (isTerminating(source) && !hasRunningContainers(source))) {
    return done('Adopted', 'the ReplicaSet has the target in place of the source');
  }
  return wait('TARGET_NOT_READY', 'RemovingSource', `pod ${source.metadata.name} is being removed`, {
    actions: removeSource(world, source, nowMs),
    wakeAfterMs: 1_000,
  });
}

function handOver(world: World, target: Pod, nowMs: number): StepResult {
  const { source, replicaSet } = world;
  if (replicaSet === undefined || isTerminating(replicaSet)) {
    return fail('SOURCE_GONE', 'the ReplicaSet of the pod was deleted during the move');
  }
  const sinceMs = elapsedMs(world, nowMs);
  if (source !== undefined && !isRetired(world, nowMs)) {
    return wait('AGENT_LOST', 'Retiring', 'the stopped process of the source is being ended', {
      actions: [sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_RETIRE)],
      wakeAfterMs: 1_000,
    });
  }
  if (source !== undefined && isReady(source) && sinceMs < unreadyWithinMs) {
    return wait('TARGET_NOT_READY', 'SourceReady', `pod ${source.metadata.name} is still Ready`, {
      wakeAfterMs: unreadyWithinMs - sinceMs,
    });
  }
  const hash = replicaSet.metadata.labels?.[podTemplateHash];
  if (hash === undefined) return wait('INTERNAL', 'NoTemplateHash', `the ReplicaSet has no label ${podTemplateHash}`);
  const isMarked = source === undefined || source.metadata.annotations?.[podDeletionCost] !== undefined;
  const actions: Action[] = [];
  if (!isMarked) actions.push({ kind: 'PreferDeletion', pod: refOf(source) });
  if (target.metadata.labels?.[podTemplateHash] !== hash) {
    actions.push({ kind: 'LabelTarget', pod: refOf(target), podTemplateHash: hash });
  }
  return wait('TARGET_NOT_READY', 'Adopting', 'the ReplicaSet takes the target over', { actions });
}

/** Its agent has ended the stopped process; or does not, which is harmless: only an order could continue it. */
function isRetired(world: World, nowMs: number): boolean {
  const word = wordOn(world, world.sourceAgent, OrderKind.ORDER_KIND_RETIRE);
  const isMoved =
    world.sourceAgent?.isConnected === true && world.sourceAgent.state?.phase === AppPhase.APP_PHASE_MOVED;
  return isMoved || word?.status === OrderStatus.ORDER_STATUS_DONE || elapsedMs(world, nowMs) > retireWithinMs;
}

/** Removal of a source that the ReplicaSet does not need any more. */
export function removeSource(world: World, source: Pod, nowMs: number): readonly Action[] {
  if (source.metadata.deletionTimestamp === undefined) {
    return elapsedMs(world, nowMs) > removeWithinMs ? [{ kind: 'DeletePod', pod: refOf(source) }] : [];
  }
  const isOverdue = nowMs > Date.parse(source.metadata.deletionTimestamp) + overdueMs;
  return isOverdue && !world.sourceNodeIsReady ? [{ kind: 'DeletePod', pod: refOf(source), graceSeconds: 0 }] : [];
}

/** How long the target has been verified. */
function elapsedMs(world: World, nowMs: number): number {
  const since = conditionOf(world.migration.status, 'Verified')?.lastTransitionTime;
  return since === undefined ? 0 : nowMs - Date.parse(since);
}

/**
 * From the first stopped thread to the first word that the target runs, on our clock; recorded once. When the source was
 * stopped follows from its word that the checkpoint is complete and from how long it says to have been stopped by then.
 */
function downtime(world: World): Partial<MigrationStatus> {
  const { status } = world.migration;
  const { targetAgent } = world;
  const step = status.timeline?.find((entry) => entry.step === 'Frozen');
  const isSeen = targetAgent?.isConnected === true && targetAgent.state?.phase === AppPhase.APP_PHASE_RUNNING;
  if (status.downtimeMs !== undefined || step === undefined || !isSeen) return {};
  const freezeMs = status.checkpoint?.freezeMs ?? 0;
  const stoppedMs = Date.parse(step.startedAt) + (freezeMs === 0 ? 0 : Math.max(0, step.ms - freezeMs));
  return { downtimeMs: Math.max(0, targetAgent.phaseSinceMs - stoppedMs) };
}
