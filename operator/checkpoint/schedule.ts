import { createHash } from 'node:crypto';
import type { Checkpoint } from '../../proto/checkpoint.ts';
import { labels } from '../../proto/names.ts';
import type { Setting } from '../policy/resolve.ts';
import { isTerminating, hasEnded, type Pod } from '../kube/objects.ts';
import type { NewCheckpoint } from './of-move.ts';
import { isOver } from './world.ts';

export interface ScheduleInput {
  readonly pod: Pod;
  readonly intervalMs: Setting<number>;
  /** The application runs, by the word of its agent. */
  readonly isRunning: boolean;
  /** A Migration of the pod is under way. */
  readonly isMoving: boolean;
  /** The Checkpoints of the pod's instance. */
  readonly existing: readonly Checkpoint[];
}

export interface Schedule {
  readonly create?: NewCheckpoint;
  /** Why none is taken, although somebody seems to want it. */
  readonly invalid?: string;
  readonly wakeAfterMs: number;
}

/** A policy that has changed elsewhere is noticed within this time. */
const resyncMs = 60_000;

/**
 * Whether a checkpoint is due. Time is divided into intervals, each pod's by an offset of its own, so that replicas do not all stop at once; in each one is
 * taken unless there is one already, by whatever cause. What was missed is not made up for. Pure: nothing is remembered.
 */
export function planSchedule(input: ScheduleInput, nowMs: number): Schedule {
  const { pod, intervalMs, isRunning, isMoving, existing } = input;
  if (!intervalMs.isValid) return { invalid: intervalMs.message, wakeAfterMs: resyncMs };
  if (intervalMs.value === 0 || isTerminating(pod) || hasEnded(pod)) return { wakeAfterMs: resyncMs };
  const { uid, name, namespace = 'default', creationTimestamp } = pod.metadata;
  const offsetMs = hashOf(uid).readUIntBE(0, 6) % intervalMs.value;
  const slot = Math.floor((nowMs - offsetMs) / intervalMs.value);
  const beginMs = slot * intervalMs.value + offsetMs;
  const wakeAfterMs = Math.min(Math.max(1, beginMs + intervalMs.value - nowMs), resyncMs);
  const isTaken = existing.some(
    ({ metadata, status }) => !isOver(status) || Date.parse(metadata.creationTimestamp) >= wholeSeconds(beginMs),
  );
  const isNew = Date.parse(creationTimestamp) >= beginMs;
  if (isTaken || isNew || isMoving || !isRunning) return { wakeAfterMs };
  const mark = hashOf(`${uid}/${intervalMs.value}/${slot}`).toString('hex').slice(0, 8);
  return {
    create: {
      name: `${name.slice(0, 200)}-${mark}`,
      namespace,
      labels: { [labels.intervalOf]: uid },
      spec: { podName: name },
    },
    wakeAfterMs,
  };
}

/** The API server cuts the fraction of a second off its times. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
