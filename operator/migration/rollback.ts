import { AppPhase, OrderKind, OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import { hasEnded, hasRunningContainers } from '../kube/objects.ts';
import { overdueMs } from './after-commit.ts';
import { mayBeStopped } from './before-commit.ts';
import { refOf, sendOrder, wordOn, type Action, type World } from './world.ts';

/** How far the way back is. */
export interface Rollback {
  readonly isDone: boolean;
  readonly actions: readonly Action[];
  /** What it waits for. */
  readonly message: string;
}

/** A target of a move that failed never runs its process: its containers need no time to end. */
const targetGraceSeconds = 1;

/**
 * The way back, before the commit: the source is continued, the target removed, at the same time. It has no deadline:
 * a stopped application must not stay stopped.
 */
export function rollback(world: World, nowMs: number): Rollback {
  const parts = [resumeSource(world), removeTarget(world, nowMs)];
  return {
    isDone: parts.every((part) => part.isDone),
    actions: parts.flatMap((part) => part.actions),
    message: parts
      .filter((part) => !part.isDone)
      .map((part) => part.message)
      .join('; '),
  };
}

function resumeSource(world: World): Rollback {
  const { source, sourceAgent } = world;
  if (!mayBeStopped(world) || source === undefined || hasEnded(source)) return over;
  // Not merely "it runs" or "it waits": an order to stop may still be on its way to the agent. Its answer to RESUME comes after that.
  const word = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_RESUME);
  const isResumed = word?.status === OrderStatus.ORDER_STATUS_DONE;
  // its container has just been started again: nothing is stopped there, and the agent starts the application by itself
  const startsAfresh = word?.status === OrderStatus.ORDER_STATUS_FAILED && word.phase === AppPhase.APP_PHASE_WAITING;
  const failed = wordOn(world, sourceAgent, OrderKind.ORDER_KIND_CHECKPOINT);
  const continuedItself =
    failed?.status === OrderStatus.ORDER_STATUS_FAILED && failed.phase === AppPhase.APP_PHASE_RUNNING;
  if (isResumed || startsAfresh || continuedItself) return over;
  if (sourceAgent?.isConnected !== true) {
    return { isDone: false, actions: [], message: `the agent of pod ${source.metadata.name} is not connected` };
  }
  return {
    isDone: false,
    actions: [sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_RESUME)],
    message: `pod ${source.metadata.name} is being continued`,
  };
}

function removeTarget(world: World, nowMs: number): Rollback {
  const { target } = world;
  if (target === undefined) return over;
  const { deletionTimestamp } = target.metadata;
  const isOverdue = deletionTimestamp !== undefined && nowMs > Date.parse(deletionTimestamp) + overdueMs;
  const isUnattended = !world.targetNodeIsReady || !hasRunningContainers(target) || isOverdue;
  const graceSeconds = isUnattended ? 0 : targetGraceSeconds;
  // a pod that is ending anyway is left to its kubelet, unless that one does not answer or takes its full time
  const isInTime = deletionTimestamp !== undefined && target.metadata.deletionGracePeriodSeconds === graceSeconds;
  return {
    isDone: false,
    actions: isInTime && !isOverdue ? [] : [{ kind: 'DeletePod', pod: refOf(target), graceSeconds }],
    message: `pod ${target.metadata.name} is being removed`,
  };
}

const over: Rollback = { isDone: true, actions: [], message: '' };
