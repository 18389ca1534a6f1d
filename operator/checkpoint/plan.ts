import type { Checkpoint, CheckpointConditionType, CheckpointStatus } from '../../proto/checkpoint.ts';
import type { ErrorCode } from '../../proto/errors.ts';
import { OrderKind, OrderStatus, type AgentState } from '../../proto/gen/agent/v1/agent.ts';
import { finalizer } from '../../proto/names.ts';
import { isRunning } from '../hub/agents.ts';
import { generationOf, instanceOf } from '../hub/welcome.ts';
import { conditionIn, isoTime, withConditionIn, type ConditionValue } from '../kube/conditions.ts';
import { hasEnded, isTerminating, type Pod } from '../kube/objects.ts';
import { takenCheckpoint } from '../migration/before-commit.ts';
import { codeOf, reasonOf, withHint } from '../migration/conditions.ts';
import { isInjected } from '../migration/world.ts';
import { planKept, planLeaving } from './keep.ts';
import { storedFields, storedValue } from './of-move.ts';
import { orderFor, takeBack, takeWithinMs } from './orders.ts';
import { checkpointIdOf, hasStarted, isOver, isWorking, wordOn } from './world.ts';
import type { Plan, World } from './world.ts';

/** Looked at again at least this often, in case a wake-up was lost. */
const resyncMs = 5_000;
/** One that cannot begin until then is given up; the next interval brings another. */
export const startWithinMs = 300_000;
const preflightMs = 30_000;
/** Nearly all has been copied ahead. Whatever keeps the rest, the process goes on then, by its agent's own clock. */
export const stopWithinMs = 60_000;

/**
 * What to do next for one Checkpoint. Pure: the same world and time give the same plan. A move of the pod wins at any time: no order is given while one
 * is under way, and one under way is taken back. Nobody is needed to continue the process: its agent does that by itself.
 */
export function plan(world: World, nowMs: number): Plan {
  const { checkpoint, canRelease } = world;
  const { metadata, spec, status } = checkpoint;
  const hasFinalizer = metadata.finalizers?.includes(finalizer) ?? false;
  if (metadata.deletionTimestamp !== undefined) return planLeaving(world, hasFinalizer, nowMs);
  // the status of one that a move has taken is written by whoever made it
  if (spec.migrationName !== undefined && status.id === undefined) return { actions: [], status };
  if (!hasFinalizer && canRelease && status.failure === undefined) {
    return { actions: [{ kind: 'AddFinalizer' }], status, wakeAfterMs: resyncMs };
  }
  if (isOver(status)) return planKept(world, hasFinalizer, nowMs);
  return hasStarted(status) ? take(world, nowMs) : begin(world, nowMs);
}

/** Waits until the process may be stopped. Its beginning is stored before the first order. */
function begin(world: World, nowMs: number): Plan {
  const { checkpoint, invalid, pod, workload } = world;
  if (invalid !== undefined) return failed(world, 'CHECKPOINT_INVALID', invalid, nowMs);
  const gone = whyGone(world);
  if (gone !== undefined || pod === undefined) return failed(world, 'SOURCE_GONE', gone ?? '', nowMs);
  if (!isInjected(pod)) return failed(world, 'NOT_INJECTED', `pod ${pod.metadata.name} has no agent`, nowMs);

  const obstacle = obstacleOf(world, pod);
  if (obstacle !== undefined) {
    const leftMs = Date.parse(checkpoint.metadata.creationTimestamp) + startWithinMs - nowMs;
    if (leftMs <= 0) return failed(world, obstacle.code, `it could not begin: ${obstacle.message}`, nowMs);
    const value = { status: 'False', reason: obstacle.reason, message: obstacle.message } as const;
    const status = withPhase(withCondition(world, 'Started', value, nowMs), 'Pending');
    return { actions: [], status, wakeAfterMs: Math.min(leftMs, resyncMs) };
  }
  const value = { status: 'True', reason: 'Taking', message: `pod ${pod.metadata.name} can be checkpointed` } as const;
  const status: CheckpointStatus = {
    ...withCondition(world, 'Started', value, nowMs),
    source: { pod: pod.metadata.name, uid: pod.metadata.uid, node: pod.spec.nodeName ?? '' },
    ...(workload && { workload }),
    instance: instanceOf(pod),
    generation: generationOf(pod),
    startedAt: isoTime(nowMs),
  };
  return { actions: [], status: withPhase(status, 'Running'), wakeAfterMs: 0 };
}

interface Obstacle {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly message: string;
}

/** What may go away by itself. */
function obstacleOf({ migration, agent, hasTurn, workload }: World, pod: Pod): Obstacle | undefined {
  const name = pod.metadata.name;
  const obstacles: readonly (readonly [boolean, Obstacle])[] = [
    [
      migration !== undefined,
      { code: 'MIGRATION_CONFLICT', reason: 'Moving', message: `Migration ${migration ?? ''} moves pod ${name}` },
    ],
    [
      agent?.isConnected !== true,
      { code: 'AGENT_LOST', reason: 'AgentNotConnected', message: `the agent of pod ${name} is not connected` },
    ],
    [
      agent?.state?.draining === true,
      {
        code: 'DRAINING',
        reason: 'Draining',
        message: 'the memory of the process is still arriving from its last move',
      },
    ],
    [
      !isRunning(agent) || pod.spec.nodeName === undefined,
      { code: 'APP_NOT_RUNNING', reason: 'AppNotRunning', message: 'the application does not run' },
    ],
    [
      workload === undefined,
      { code: 'SOURCE_GONE', reason: 'OwnerUnknown', message: `the owner of pod ${name} is not known` },
    ],
    [
      !hasTurn,
      { code: 'DEADLINE_EXCEEDED', reason: 'Queued', message: 'another process of the node is being checkpointed' },
    ],
  ];
  return obstacles.find(([isThere]) => isThere)?.[1];
}

function take(world: World, nowMs: number): Plan {
  const { checkpoint, agent, migration } = world;
  const { status } = checkpoint;
  const word = wordOn(world);
  const id = checkpointIdOf(checkpoint);
  // said even when the agent has had other orders since
  const stored = agent?.state?.checkpoint;
  const isOurs = word?.order === OrderKind.ORDER_KIND_CHECKPOINT;
  if (stored?.id === id && !(isOurs && isWorking(word))) {
    return completed(world, storedFields(takenCheckpoint(stored, isOurs ? word : { transfer: undefined })), nowMs);
  }
  const gone = whyGone(world);
  if (gone !== undefined) return failed(world, 'SOURCE_GONE', gone, nowMs);
  if (word?.status === OrderStatus.ORDER_STATUS_FAILED) {
    return failed(world, codeOf(word.failure?.code), word.failure?.message ?? 'the agent gave no reason', nowMs);
  }
  if (migration !== undefined) {
    return takenBack(world, word, 'MIGRATION_CONFLICT', `Migration ${migration} came in between`, nowMs);
  }
  const leftMs = Date.parse(status.startedAt ?? checkpoint.metadata.creationTimestamp) + takeWithinMs - nowMs;
  if (leftMs <= 0) {
    return takenBack(world, word, 'DEADLINE_EXCEEDED', `it was not taken within ${takeWithinMs} ms`, nowMs);
  }
  const waiting = { actions: [], status, wakeAfterMs: Math.min(leftMs, resyncMs) };
  if (agent?.isConnected !== true || isWorking(word)) return waiting;
  return { ...waiting, ...next(world, word, leftMs, nowMs) };
}

/** The order that follows from the agent's last word. That nothing is copied ahead any more is stored before the process is stopped. */
function next(world: World, word: AgentState | undefined, leftMs: number, nowMs: number): Partial<Plan> {
  const { status } = world.checkpoint;
  const isCopied = conditionIn(status.conditions, 'PreCopied')?.status === 'True';
  if (isCopied) return { actions: [orderFor(world, OrderKind.ORDER_KIND_CHECKPOINT, Math.min(leftMs, stopWithinMs))] };
  if (word?.order === OrderKind.ORDER_KIND_PRECOPY) {
    const message = `the memory of the running process was gone through ${word.transfer?.rounds ?? 0} times`;
    const copied = withCondition(world, 'PreCopied', { status: 'True', reason: 'Copied', message }, nowMs);
    return { status: copied, wakeAfterMs: 0 };
  }
  if (word?.order !== OrderKind.ORDER_KIND_PREFLIGHT) {
    return { actions: [orderFor(world, OrderKind.ORDER_KIND_PREFLIGHT, Math.min(leftMs, preflightMs))] };
  }
  const [reason] = word.preflight;
  if (reason === undefined) return { actions: [orderFor(world, OrderKind.ORDER_KIND_PRECOPY, leftMs)] };
  return failed(world, codeOf(reason), `the process cannot be checkpointed: ${word.preflight.join(', ')}`, nowMs);
}

function takenBack(world: World, word: AgentState | undefined, code: ErrorCode, message: string, nowMs: number): Plan {
  return { ...failed(world, code, message, nowMs), actions: takeBack(world, word) };
}

function whyGone({ checkpoint, pod }: World): string | undefined {
  const name = checkpoint.status.source?.pod ?? checkpoint.spec.podName;
  return pod === undefined || hasEnded(pod) || isTerminating(pod)
    ? `pod ${name} does not exist or is ending`
    : undefined;
}

function completed(world: World, fields: Partial<CheckpointStatus>, nowMs: number): Plan {
  const status = { ...withCondition(world, 'Completed', storedValue, nowMs), ...fields, completedAt: isoTime(nowMs) };
  return { actions: [], status: withPhase(status, 'Completed'), wakeAfterMs: 0 };
}

function failed(world: World, code: ErrorCode, message: string, nowMs: number): Plan {
  const value = { status: 'False', reason: reasonOf(code), message: withHint(code, message) } as const;
  const outcome = withCondition(world, 'Completed', value, nowMs);
  const status = { ...outcome, failure: { code, message }, completedAt: isoTime(nowMs) };
  return { actions: [], status: withPhase(status, 'Failed'), wakeAfterMs: 0 };
}

function withCondition(
  { checkpoint }: World,
  type: CheckpointConditionType,
  value: ConditionValue,
  nowMs: number,
): Checkpoint['status'] {
  const { status, metadata } = checkpoint;
  const conditions = withConditionIn(status.conditions ?? [], type, value, metadata.generation, nowMs);
  return { ...status, conditions };
}

function withPhase(status: CheckpointStatus, phase: NonNullable<CheckpointStatus['phase']>): CheckpointStatus {
  return { ...status, phase };
}
