import { placeOfManifest, type CheckpointPlace } from '../../proto/store-layout.ts';
import { isoTime } from '../kube/conditions.ts';
import { checkpointIdOf, isComplete, isOver, isWorking, wordOn } from './world.ts';
import { takeBack, takeWithinMs } from './orders.ts';
import type { Action, Plan, World } from './world.ts';

/** A Checkpoint that failed tells why for this long. */
export const failureKeptMs = 3_600_000;
const resyncMs = 5_000;

/**
 * One that is over: kept as long as storage keeps it. The agent of its instance removes checkpoints; without one, time does.
 */
export function planKept(world: World, hasFinalizer: boolean, nowMs: number): Plan {
  const { checkpoint, ttlSeconds, isStored, isServed, isSuperseded } = world;
  const { status } = checkpoint;
  const endedMs = Date.parse(status.completedAt ?? checkpoint.metadata.creationTimestamp);
  const remove: Plan = { actions: [{ kind: 'Delete' }], status };
  if (!isComplete(status)) {
    if (hasFinalizer) return { actions: [{ kind: 'RemoveFinalizer' }], status };
    const leftMs = endedMs + failureKeptMs - nowMs;
    return leftMs <= 0 || isSuperseded ? remove : { actions: [], status, wakeAfterMs: leftMs };
  }
  const expiresMs = endedMs + ttlSeconds * 1_000;
  const withExpiry = { ...status, expiresAt: isoTime(expiresMs) };
  if (isStored === false || (nowMs >= expiresMs && !isServed)) return remove;
  return { actions: [], status: withExpiry, wakeAfterMs: Math.max(expiresMs - nowMs, resyncMs) };
}

/** One that is being deleted: what is under way is broken off, what is stored is released, then it goes. */
export function planLeaving(world: World, hasFinalizer: boolean, nowMs: number): Plan {
  const { checkpoint, isInUse } = world;
  const { status } = checkpoint;
  const again: Plan = { actions: [], status, wakeAfterMs: 1_000 };
  const word = wordOn(world);
  if (!isOver(status) && isWorking(word)) return { ...again, actions: takeBack(world, word) };
  if (!hasFinalizer) return { actions: [], status };
  // its agent may still be at it, where nobody can tell it anything
  const startedMs = Date.parse(status.startedAt ?? '');
  if (
    !isOver(status) &&
    world.pod !== undefined &&
    world.agent?.isConnected !== true &&
    nowMs < startedMs + takeWithinMs
  ) {
    return again;
  }
  if (isInUse) return again;
  const place = placeOf(world);
  const release: readonly Action[] = place === undefined ? [] : [{ kind: 'Release', place }];
  return { actions: [...release, { kind: 'RemoveFinalizer' }], status };
}

/** Where it is in storage; of one that was broken off, where it may be. */
function placeOf({ checkpoint, agent }: World): CheckpointPlace | undefined {
  const { status } = checkpoint;
  const id = status.id ?? checkpointIdOf(checkpoint);
  const stored = agent?.state?.checkpoint;
  const manifestKey = status.manifestKey ?? (stored?.id === id ? stored.manifestKey : undefined);
  const place = manifestKey === undefined ? undefined : placeOfManifest(manifestKey);
  return place?.checkpoint === id ? place : undefined;
}
