import type { ErrorCode } from '../../proto/errors.ts';
import { finalizer } from '../../proto/names.ts';
import { OrderKind } from '../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus, TimelineEntry } from '../../proto/migration.ts';
import { checkpointOfMove } from '../checkpoint/of-move.ts';
import { isoTime } from '../kube/conditions.ts';
import { hasEnded, isTerminating } from '../kube/objects.ts';
import { accepted } from './accepted.ts';
import { cutOver, removeSource, verified } from './after-commit.ts';
import { committed, frozen, restoredStopped, targetPrepared } from './before-commit.ts';
import { preCopied, warmed } from './copy-ahead.ts';
import { drained } from './drained.ts';
import { conditionOf, isCommitted, isFinished, isTrue, reasonOf, withCondition, withHint } from './conditions.ts';
import { phaseOf } from './phase.ts';
import { rollback } from './rollback.ts';
import type { Done, Step, Wait } from './step.ts';
import { deadlineMs, refOf, sendOrder, type Action, type Plan, type World } from './world.ts';

/** The steps in order; the first that is not finished decides. */
const steps: readonly Step[] = [
  { type: 'Accepted', run: accepted },
  { type: 'TargetPrepared', run: targetPrepared },
  { type: 'Warmed', run: warmed },
  { type: 'PreCopied', run: preCopied },
  { type: 'Frozen', run: frozen },
  { type: 'RestoredStopped', run: restoredStopped },
  { type: 'Committed', run: committed },
  { type: 'Verified', run: verified },
  { type: 'CutOver', run: cutOver },
  { type: 'Drained', run: drained },
];

/** Looked at again at least this often, in case a wake-up was lost. */
const resyncMs = 5_000;
/** An agent of the target may be gone this long before the move is given up. */
const targetGraceMs = 3_000;
/** And this long while the source still runs: nobody is kept waiting. */
const runningGraceMs = 15_000;
/** After the operator's own start agents need longer: all of them connect anew. */
const newHubGraceMs = 15_000;
/** A step after the commit that takes longer is told of; it goes on. */
const overdueStepMs = 60_000;
const maxTimeline = 60;

/**
 * What to do next for one Migration. Pure: the same world and time give the same plan, and a plan that was carried out
 * asks for nothing more until the world changes.
 *
 * Two decisions exclude each other, `Committed` and `failure`. Each is stored, under the version it was made from, before
 * anything follows from it; so of two operators, or of two looks at a stale cache, only one can decide.
 */
export function plan(world: World, nowMs: number): Plan {
  const { migration } = world;
  const { status, metadata } = migration;
  const hasFinalizer = metadata.finalizers?.includes(finalizer) ?? false;
  if (isFinished(status)) return finished(world, hasFinalizer, nowMs);
  if (!hasFinalizer) {
    const isLeaving = metadata.deletionTimestamp !== undefined;
    return { status, actions: isLeaving ? [] : [{ kind: 'AddFinalizer' }] };
  }
  if (isCommitted(status)) return isTargetLost(world) ? lostAfterCommit(world, nowMs) : forward(world, nowMs);
  if (status.failure !== undefined) return back(world, nowMs);
  const obstacle = obstacleOf(world, nowMs);
  return obstacle === undefined ? forward(world, nowMs) : giveUp(world, obstacle.code, obstacle.message, nowMs);
}

/** The plan after an action was refused for good: before the commit the move fails, after it there is no way but forward. */
export function planRefused(world: World, code: ErrorCode, message: string, nowMs: number): Plan | undefined {
  const { status } = world.migration;
  if (isFinished(status) || isCommitted(status) || status.failure !== undefined) return undefined;
  return giveUp(world, code, message, nowMs);
}

function forward(world: World, nowMs: number): Plan {
  const begun = world.migration.status;
  let status: MigrationStatus = { ...begun, startedAt: begun.startedAt ?? isoTime(nowMs) };
  for (const step of steps) {
    if (isTrue(status, step.type)) continue;
    const now: World = { ...world, migration: { ...world.migration, status } };
    const result = step.run(now, nowMs);
    if (result.kind === 'fail') {
      return isCommitted(status)
        ? lostAfterCommit(now, nowMs, result.code, result.message)
        : giveUp(now, result.code, result.message, nowMs);
    }
    status = { ...status, ...result.patch };
    if (result.kind === 'wait')
      return waiting({ ...now, migration: { ...now.migration, status } }, step, result, nowMs);
    status = stepDone(world, status, step, result, nowMs);
    if (result.isBarrier === true) {
      return { actions: [], status: withPhase(withNext(world, status, step, nowMs)), wakeAfterMs: 0 };
    }
  }
  return { actions: [], status: succeed(world, status, nowMs), wakeAfterMs: 0 };
}

function waiting(world: World, step: Step, result: Wait, nowMs: number): Plan {
  const { migration } = world;
  const before = conditionOf(migration.status, step.type);
  const isAfterCommit = isCommitted(migration.status);
  const untilMs = deadlineMs(world, nowMs);
  if (!isAfterCommit && nowMs >= untilMs) {
    const message = `${step.type} took too long: ${result.message}`;
    return giveUp(world, result.lateCode, message, nowMs);
  }
  const isOverdue =
    isAfterCommit && before !== undefined && nowMs - Date.parse(before.lastTransitionTime) > overdueStepMs;
  const value = {
    status: 'False' as const,
    reason: isOverdue ? 'Overdue' : result.reason,
    message: result.message,
  };
  const status = withCondition(migration, migration.status, step.type, value, nowMs);
  const wakeAfterMs = Math.min(result.wakeAfterMs ?? resyncMs, resyncMs, isAfterCommit ? resyncMs : untilMs - nowMs);
  const began = withStart(status, step, nowMs);
  return { actions: result.actions, status: withPhase(began), wakeAfterMs: Math.max(1, wakeAfterMs) };
}

/**
 * A barrier is stored together with the beginning of the step after it, whose order then follows without another write:
 * the order to stop the process, and the one to continue it, have none of their own to wait behind.
 */
function withNext(world: World, status: MigrationStatus, step: Step, nowMs: number): MigrationStatus {
  const next = steps[steps.indexOf(step) + 1];
  const now: World = { ...world, migration: { ...world.migration, status } };
  const result = next?.run(now, nowMs);
  if (next === undefined || result?.kind !== 'wait') return status;
  const { reason, message } = result;
  const value = { status: 'False' as const, reason, message };
  const begun = withStart({ ...status, ...result.patch }, next, nowMs);
  return withCondition(world.migration, begun, next.type, value, nowMs);
}

/** The timeline gets an entry when its step begins, which the end of the step completes. */
function withStart(status: MigrationStatus, step: Step, nowMs: number): MigrationStatus {
  const timeline = status.timeline ?? [];
  if (timeline.some((entry) => entry.step === step.type)) return status;
  return { ...status, timeline: [...timeline, { step: step.type, startedAt: isoTime(nowMs), ms: 0 }] };
}

function stepDone(world: World, before: MigrationStatus, step: Step, result: Done, nowMs: number): MigrationStatus {
  const { reason, message } = result;
  const status = withStart(before, step, nowMs);
  const timeline = (status.timeline ?? []).flatMap((entry): TimelineEntry[] => {
    if (entry.step !== step.type) return [entry];
    const ended = { ...entry, ms: Math.max(0, nowMs - Date.parse(entry.startedAt)) };
    return [ended, ...inner(ended, result)];
  });
  return withCondition(
    world.migration,
    { ...status, timeline: timeline.slice(0, maxTimeline) },
    step.type,
    { status: 'True', reason, message },
    nowMs,
  );
}

/** What the agent did inside the step, one after the other from its beginning. */
function inner(entry: TimelineEntry, result: Done): TimelineEntry[] {
  let atMs = Date.parse(entry.startedAt);
  return (result.timings ?? []).slice(0, 12).map(({ step, ms }) => {
    const startedAt = isoTime(atMs);
    atMs += ms;
    return { step: `${entry.step}.${step.slice(0, 60)}`, startedAt, ms };
  });
}

/** What ends a move before its commit, whatever its step is. */
function obstacleOf(world: World, nowMs: number): { readonly code: ErrorCode; readonly message: string } | undefined {
  const { migration, source } = world;
  const { status } = migration;
  if (world.invalid !== undefined) return { code: 'MIGRATION_INVALID', message: world.invalid };
  if (migration.metadata.deletionTimestamp !== undefined) {
    return { code: 'CANCELLED', message: 'the Migration was deleted' };
  }
  if (status.source !== undefined && (source === undefined || hasEnded(source) || isTerminating(source))) {
    return { code: 'SOURCE_GONE', message: `pod ${status.source.pod} is gone or being deleted` };
  }
  if (status.target !== undefined && isTargetLost(world)) {
    return { code: 'TARGET_LOST', message: `pod ${status.target.pod ?? ''} is gone or being deleted` };
  }
  if (isTrue(status, 'TargetPrepared') && isAgentLost(world, nowMs)) {
    return { code: 'TARGET_LOST', message: `the agent of pod ${status.target?.pod ?? ''} is gone` };
  }
  return undefined;
}

function isTargetLost({ target }: World): boolean {
  return target === undefined || hasEnded(target) || isTerminating(target);
}

function isAgentLost({ targetAgent, hubSinceMs, migration }: World, nowMs: number): boolean {
  if (targetAgent?.isConnected === true) return false;
  if (targetAgent === undefined) return nowMs - hubSinceMs > newHubGraceMs;
  return nowMs - targetAgent.sinceMs > (isTrue(migration.status, 'PreCopied') ? targetGraceMs : runningGraceMs);
}

/** Records the decision to go back. Nothing else happens before it is stored. */
function giveUp(world: World, code: ErrorCode, message: string, nowMs: number): Plan {
  const { migration } = world;
  const begun: MigrationStatus = { ...migration.status, startedAt: migration.status.startedAt ?? isoTime(nowMs) };
  const current = steps.find((step) => !isTrue(begun, step.type));
  const value = { status: 'False' as const, reason: reasonOf(code), message: withHint(code, message) };
  const status = current === undefined ? begun : withCondition(migration, begun, current.type, value, nowMs);
  return { actions: [], status: withPhase({ ...status, failure: { code, message } }), wakeAfterMs: 0 };
}

function back(world: World, nowMs: number): Plan {
  const { migration } = world;
  const { status } = migration;
  const way = rollback(world, nowMs);
  if (way.isDone) return { actions: [], status: failed(world, status, nowMs), wakeAfterMs: 0 };
  const value = { status: 'Unknown' as const, reason: 'RollingBack', message: way.message };
  return {
    actions: way.actions,
    status: withPhase(withCondition(migration, status, 'Succeeded', value, nowMs)),
    wakeAfterMs: 1_000,
  };
}

/**
 * After the commit the target was the process: when it is gone, so is the process, as with the deletion of any pod. The
 * stopped source is removed, so that the ReplicaSet starts a fresh pod.
 */
function lostAfterCommit(
  world: World,
  nowMs: number,
  code: ErrorCode = 'TARGET_LOST',
  message = 'the target pod ended after the commit',
): Plan {
  const { migration, source, target } = world;
  const status: MigrationStatus = { ...migration.status, failure: migration.status.failure ?? { code, message } };
  const actions: Action[] = [];
  if (target !== undefined && !isTerminating(target)) actions.push({ kind: 'DeletePod', pod: refOf(target) });
  if (source === undefined || hasEnded(source)) {
    if (actions.length === 0) return { actions, status: failed(world, status, nowMs), wakeAfterMs: 0 };
  } else if (isTerminating(source)) {
    actions.push(...removeSource(world, source, nowMs));
  } else {
    actions.push(sendOrder(world, source.metadata.uid, OrderKind.ORDER_KIND_RETIRE));
    actions.push({ kind: 'DeletePod', pod: refOf(source) });
  }
  return { actions, status: withPhase(status), wakeAfterMs: 1_000 };
}

function succeed(world: World, status: MigrationStatus, nowMs: number): MigrationStatus {
  const { migration } = world;
  const place = status.target?.node ?? '';
  const value = {
    status: 'True' as const,
    reason: 'Moved',
    message: `moved from ${status.source?.node ?? ''} to ${place}`,
  };
  const outcome = withCondition(migration, status, 'Succeeded', value, nowMs);
  return withPhase({ ...outcome, completedAt: isoTime(nowMs) });
}

function failed(world: World, status: MigrationStatus, nowMs: number): MigrationStatus {
  const { code, message } = status.failure ?? { code: 'INTERNAL' as const, message: 'no reason was recorded' };
  const value = {
    status: 'False' as const,
    reason: reasonOf(code),
    message: withHint(code, message),
  };
  const outcome = withCondition(world.migration, status, 'Succeeded', value, nowMs);
  return withPhase({ ...outcome, completedAt: isoTime(nowMs) });
}

function finished(world: World, hasFinalizer: boolean, nowMs: number): Plan {
  const { status, metadata, spec } = world.migration;
  if (hasFinalizer) {
    const taken = checkpointOfMove(world.migration);
    const record: readonly Action[] = taken === undefined ? [] : [{ kind: 'RecordCheckpoint', taken }];
    return { actions: [...record, { kind: 'RemoveFinalizer' }], status };
  }
  const { ttlSecondsAfterFinished } = spec;
  if (ttlSecondsAfterFinished === undefined || metadata.deletionTimestamp !== undefined) return { actions: [], status };
  const endedMs = Date.parse(status.completedAt ?? metadata.creationTimestamp);
  const leftMs = endedMs + ttlSecondsAfterFinished * 1_000 - nowMs;
  if (leftMs > 0) return { actions: [], status, wakeAfterMs: leftMs };
  return { actions: [{ kind: 'DeleteMigration' }], status };
}

function withPhase(status: MigrationStatus): MigrationStatus {
  return { ...status, phase: phaseOf(status) };
}
