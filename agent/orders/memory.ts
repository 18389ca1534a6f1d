import { PodferryError } from '../../proto/errors.ts';
import { errorFields } from '../../proto/logging.ts';
import type { Order, Welcome } from '../../proto/gen/agent/v1/agent.ts';
import type { MemoryPurpose } from '../memory/holder.ts';
import type { MemorySession } from '../memory/session.ts';
import type { CheckpointRef } from '../store/manifest.ts';
import { sealingOf, type Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';
import type { OrderContext } from './context.ts';
import { newTracking } from './tracking.ts';

/** The memory of an application and where it is stored. */
export interface OrderMemory {
  readonly session: MemorySession;
  readonly purpose: MemoryPurpose;
  readonly store: Store;
  readonly welcome: Welcome;
  readonly sealing: Sealing;
}

/** What the memory of this process is known, kept and remembered for. */
export const purposeOf = (rootPid: number, welcome: Welcome): MemoryPurpose => ({
  rootPid,
  keyPrefix: welcome.keyPrefix,
  sealing: sealingOf(welcome),
});

/**
 * What is known of the running application's memory; the caller keeps the session or closes it.
 * @throws PodferryError APP_NOT_RUNNING; INTERNAL before the operator has named a store
 */
export async function takeMemory(order: Order, context: OrderContext): Promise<OrderMemory> {
  const { home, journal, config, log, signal } = context;
  if (home === undefined)
    throw new PodferryError('INTERNAL', 'memory is to be stored before the operator named a store');
  const rootPid = journal.appPid;
  if (rootPid === undefined)
    throw new PodferryError('APP_NOT_RUNNING', `nothing runs in container ${config.original.container}`);
  const { welcome, store } = home;
  const purpose = purposeOf(rootPid, welcome);
  const isStored = async (checkpoint: CheckpointRef): Promise<boolean> => {
    try {
      return await isThere(store, checkpoint, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.warn('everything is stored anew: nobody says whether the last checkpoint is still there', errorFields(error));
      return false;
    }
  };
  const isDelta = order.options?.off.includes('delta') !== true;
  const session = await context.memory.take(purpose, {
    newTracking: newTracking(order.options, log),
    ...(isDelta ? { isStored } : {}),
  });
  return { session, purpose, store, welcome, sealing: sealingOf(welcome) };
}

/** Of a checkpoint that is removed its manifest goes first. */
async function isThere(store: Store, { manifestKey }: CheckpointRef, signal: AbortSignal): Promise<boolean> {
  for await (const { key } of store.list(manifestKey, signal)) if (key === manifestKey) return true;
  return false;
}
