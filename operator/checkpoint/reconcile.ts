import { isDeepStrictEqual } from 'node:util';
import { assertNever, PodferryError } from '../../proto/errors.ts';
import type { Checkpoint, CheckpointStatus } from '../../proto/checkpoint.ts';
import type { Log } from '../../proto/logging.ts';
import { finalizer } from '../../proto/names.ts';
import type { CheckpointPlace } from '../../proto/store-layout.ts';
import type { Clock } from '../clock.ts';
import type { Agents } from '../hub/agents.ts';
import { applyStatus, patchMeta, pathOf } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import { changedConditionsOf } from '../kube/conditions.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import type { Events } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import type { Key, KubeObject } from '../kube/objects.ts';
import { observe, type Sources } from './observe.ts';
import { plan } from './plan.ts';
import type { Action } from './world.ts';

/**
 * Removes a checkpoint from storage; done already is done. To be asked only for one that nobody restores from.
 * @throws PodferryError STORE_*
 */
export type ReleaseCheckpoint = (place: CheckpointPlace) => Promise<void>;

export interface Deps extends Omit<Sources, 'canRelease'> {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly events: Events;
  readonly log: Log;
  readonly checkpoints: Sources['checkpoints'] & Pick<Informer<KubeObject>, 'put'>;
  readonly agents: Sources['agents'] & Pick<Agents, 'order'>;
  /** Without it deleting a Checkpoint leaves what is stored to the agent of its instance, and no finalizer is put on it. */
  readonly release: ReleaseCheckpoint | undefined;
}

/** Long enough for the watch to deliver what our write collided with. */
const conflictMs = 20;

/** One look at one Checkpoint: observe, plan, act, record. @throws what may be tried again, for the queue's back-off */
export async function reconcile(key: Key, d: Deps): Promise<{ readonly requeueAfterMs?: number | undefined }> {
  const world = observe(key, { ...d, canRelease: d.release !== undefined });
  if (world === undefined) return {};
  const next = plan(world, d.clock.now());
  try {
    for (const action of next.actions) await act(action, world.checkpoint, d);
    await record(next.status, world.checkpoint, d);
    return { requeueAfterMs: next.wakeAfterMs };
  } catch (error) {
    if (isConflict(error)) return { requeueAfterMs: conflictMs };
    // the Checkpoint is gone: its deletion wakes this key
    if (isNotFound(error)) return {};
    throw error;
  }
}

async function act(action: Action, { metadata }: Checkpoint, d: Deps): Promise<void> {
  const { namespace, name, finalizers = [] } = metadata;
  switch (action.kind) {
    case 'AddFinalizer':
      d.checkpoints.put(await patchMeta(d.client, 'Checkpoint', metadata, { finalizers: [...finalizers, finalizer] }));
      return;
    case 'RemoveFinalizer': {
      const others = finalizers.filter((each) => each !== finalizer);
      await patchMeta(d.client, 'Checkpoint', metadata, { finalizers: others });
      return;
    }
    case 'Delete':
      await d.client.call({
        method: 'DELETE',
        path: pathOf('Checkpoint', namespace, name),
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: metadata.uid } },
      });
      return;
    case 'Release':
      if (d.release === undefined) throw new PodferryError('INTERNAL', 'nobody here can release a checkpoint');
      await d.release(action.place);
      return;
    case 'SendOrder':
      d.agents.order(action.podUid, action.order);
      return;
    default:
      assertNever(action);
  }
}

async function record(status: CheckpointStatus, { metadata, status: before }: Checkpoint, d: Deps): Promise<void> {
  if (isDeepStrictEqual(status, before)) return;
  d.checkpoints.put(await applyStatus(d.client, 'Checkpoint', metadata, status));
  const { name, namespace, uid } = metadata;
  const log = d.log.child({ checkpoint: name, namespace, uid });
  for (const condition of changedConditionsOf(before.conditions ?? [], status.conditions ?? [])) {
    const { type, status: value, reason, message } = condition;
    log.info('condition changed', { type, status: value, reason, text: message });
    if (type !== 'Completed') continue;
    const event = { type: value === 'True' ? 'Normal' : 'Warning', reason, message: `${type}: ${message}` } as const;
    // not awaited: `tell` handles its own errors
    void d.events.tell({ kind: 'Checkpoint', namespace, name, uid }, event);
  }
}
