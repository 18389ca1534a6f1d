import { setTimeout as delay } from 'node:timers/promises';
import { OrderKind, OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import type { Migration } from '../../proto/migration.ts';
import { conditionOf, isCommitted, isFinished } from '../../operator/migration/conditions.ts';
import { plan } from '../../operator/migration/plan.ts';
import type { World } from '../../operator/migration/world.ts';
import { newMigration, type Cluster } from './cluster.ts';

/** Where a move is, as one who strikes it sees it; in order. */
export const phases = ['prepare', 'copy', 'freeze', 'restore', 'commit', 'drain', 'roll back', 'over'] as const;
export type Phase = (typeof phases)[number];

export interface Moved {
  readonly outcome: 'moved' | 'rolled back' | 'lost' | 'stuck';
  /** Code and message, when it failed. */
  readonly failure: string | undefined;
  readonly checkpoint: Migration['status']['checkpoint'];
  readonly targetUid: string | undefined;
  readonly tookMs: number;
  /** From the order to restore until the target ran; undefined when it never did. */
  readonly restoreMs: number | undefined;
}

/** The world as it changes, for whoever strikes. */
export interface Progress {
  phase: Phase;
  targetUid: string | undefined;
}

const endMs = 120_000;
const resyncMs = 200;

/** Moves a pod by the operator's own plan, to the end of it; `progress` is kept up to date. */
export async function move(
  cluster: Cluster,
  sourceUid: string,
  strategy: Migration['spec']['strategy'],
  progress: Progress,
): Promise<Moved> {
  const startedAt = performance.now();
  const reachedAt = new Map<Phase, number>();
  const source = cluster.object(sourceUid);
  let migration = newMigration(source, strategy);
  let changed: () => void = () => undefined;
  let next = new Promise<void>((resolve) => (changed = resolve));
  const stopWatching = cluster.onChange(() => changed());
  try {
    while (!isFinished(migration.status) && performance.now() - startedAt < endMs) {
      const asked = next;
      const world = cluster.world(migration, sourceUid, progress.targetUid);
      progress.phase = phaseOf(world);
      const { actions, status, wakeAfterMs = resyncMs } = plan(world, Date.now());
      for (const action of actions) progress.targetUid = (await cluster.act(action, migration)) ?? progress.targetUid;
      migration = { ...migration, status };
      progress.phase = phaseOf({ ...world, migration });
      if (!reachedAt.has(progress.phase)) reachedAt.set(progress.phase, performance.now());
      await Promise.race([asked, delay(Math.min(wakeAfterMs, resyncMs))]);
      next = new Promise((resolve) => (changed = resolve));
    }
  } finally {
    stopWatching();
    progress.phase = 'over';
  }
  const { failure, checkpoint } = migration.status;
  return {
    outcome: outcomeOf(migration),
    failure: failure === undefined ? undefined : `${failure.code}: ${failure.message}`,
    checkpoint,
    targetUid: progress.targetUid,
    tookMs: Math.round(performance.now() - startedAt),
    restoreMs: between(reachedAt.get('restore'), reachedAt.get('drain')),
  };
}

const between = (from: number | undefined, to: number | undefined): number | undefined =>
  from === undefined || to === undefined ? undefined : to - from;

function outcomeOf({ status }: Migration): Moved['outcome'] {
  if (!isFinished(status)) return 'stuck';
  if (conditionOf(status, 'Succeeded')?.status === 'True') return 'moved';
  return isCommitted(status) ? 'lost' : 'rolled back';
}

function phaseOf({ migration, sourceAgent, targetAgent }: World): Phase {
  const { status } = migration;
  if (status.failure !== undefined && !isCommitted(status)) return 'roll back';
  if (isCommitted(status)) {
    const isContinued = targetAgent?.state?.order === OrderKind.ORDER_KIND_CONTINUE;
    return isContinued && targetAgent?.state?.status === OrderStatus.ORDER_STATUS_DONE ? 'drain' : 'commit';
  }
  const kind = sourceAgent?.state?.migrationUid === migration.metadata.uid ? sourceAgent.state.order : undefined;
  if (kind === OrderKind.ORDER_KIND_CHECKPOINT) {
    return sourceAgent?.state?.status === OrderStatus.ORDER_STATUS_DONE ? 'restore' : 'freeze';
  }
  return kind === OrderKind.ORDER_KIND_PRECOPY ? 'copy' : 'prepare';
}
