import { isDeepStrictEqual } from 'node:util';
import { PodferryError } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { Condition, Migration, MigrationStatus } from '../../proto/migration.ts';
import type { Clock } from '../clock.ts';
import { applyMigrationStatus } from '../kube/apply.ts';
import { isConflict, isNotFound, remedyFor } from '../kube/errors.ts';
import type { Events } from '../kube/events.ts';
import type { Key } from '../kube/objects.ts';
import { act, type ActDeps } from './act.ts';
import { changedConditions } from './conditions.ts';
import { observe, type Sources } from './observe.ts';
import { plan, planRefused } from './plan.ts';
import type { Plan, World } from './world.ts';

export interface Deps extends Sources, ActDeps {
  readonly migrations: Sources['migrations'] & ActDeps['migrations'];
  readonly pods: Sources['pods'] & ActDeps['pods'];
  readonly agents: Sources['agents'] & ActDeps['agents'];
  readonly clock: Clock;
  readonly events: Events;
  readonly log: Log;
}

export interface Result {
  readonly requeueAfterMs?: number | undefined;
}

/** Long enough for the watch to deliver what our write collided with. */
const conflictMs = 20;

/**
 * One look at one Migration: observe, plan, act, record.
 * @throws what may be tried again, for the queue's back-off
 */
export async function reconcile(key: Key, d: Deps): Promise<Result> {
  const world = observe(key, d);
  if (world === undefined) return {};
  const planned = plan(world, d.clock.now());
  try {
    const next = await carryOut(planned, world, d);
    await record(next.status, world.migration, d);
    return { requeueAfterMs: next.wakeAfterMs };
  } catch (error) {
    if (isConflict(error)) return { requeueAfterMs: conflictMs };
    // the Migration, or the pod of an action, is gone: its deletion wakes this key
    if (isNotFound(error)) return { requeueAfterMs: planned.wakeAfterMs };
    throw error;
  }
}

/** Acts in order and stops at the first failure. @returns the plan, or the one that follows from a final refusal */
async function carryOut(planned: Plan, world: World, d: Deps): Promise<Plan> {
  try {
    for (const action of planned.actions) await act(action, world.migration, d);
    return planned;
  } catch (error) {
    if (!(error instanceof PodferryError) || remedyFor(error) !== 'final') throw error;
    const refused = planRefused(world, error.code, error.message, d.clock.now());
    if (refused === undefined) throw error;
    return refused;
  }
}

async function record(status: MigrationStatus, { metadata, status: before }: Migration, d: Deps): Promise<void> {
  if (isDeepStrictEqual(status, before)) return;
  d.migrations.put(await applyMigrationStatus(d.client, metadata, status));
  const { name, namespace, uid } = metadata;
  const log = d.log.child({ migration: name, namespace, uid });
  for (const condition of changedConditions(before, status)) {
    const { type, status: value, reason, message } = condition;
    log.info('condition changed', { type, status: value, reason, text: message });
    // not awaited: an Event must not hold up the move; `tell` handles its own errors
    void d.events.tell({ kind: 'Migration', namespace, name, uid }, eventOf(condition, status));
  }
}

function eventOf(
  { type, status, reason, message }: Condition,
  { failure }: MigrationStatus,
): {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
} {
  const isBad = (failure !== undefined && status !== 'True') || reason === 'Overdue';
  return { type: isBad ? 'Warning' : 'Normal', reason, message: `${type}: ${message}` };
}

/** For the queue: what a failed reconcile is logged with. */
export function reconcileErrorFields(key: Key, error: unknown, delayMs: number): Record<string, unknown> {
  return { migration: key, retryAfterMs: delayMs, ...errorFields(error) };
}
