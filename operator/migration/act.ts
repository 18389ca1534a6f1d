import { assertNever, PodferryError } from '../../proto/errors.ts';
import { annotations, fieldManager, finalizer, podDeletionCost, podTemplateHash } from '../../proto/names.ts';
import type { Migration } from '../../proto/migration.ts';
import type { Agents } from '../hub/agents.ts';
import { recordCheckpoint } from '../checkpoint/create.ts';
import { migrationPath, patchMeta, patchPodMeta } from '../kube/apply.ts';
import { paths, type KubeClient } from '../kube/client.ts';
import { isAlreadyExists, isConflict, isNotFound, remedyFor } from '../kube/errors.ts';
import type { Informer } from '../kube/informer.ts';
import type { KubeObject, NewPod, Pod } from '../kube/objects.ts';
import type { Action, PodRef } from './world.ts';

export interface ActDeps {
  readonly client: KubeClient;
  readonly agents: Pick<Agents, 'order'>;
  /** What a write returned goes to the caches at once, so that the next plan knows it. */
  readonly pods: Pick<Informer<Pod>, 'put'>;
  readonly migrations: Pick<Informer<KubeObject>, 'put'>;
}

/**
 * Carries out one action; doing it twice is harmless.
 * @throws ApiError as the server answered; PodferryError TARGET_NOT_READY when the target pod is refused for good
 */
export async function act(action: Action, migration: Migration, d: ActDeps): Promise<void> {
  const { metadata } = migration;
  switch (action.kind) {
    case 'AddFinalizer':
      d.migrations.put(
        await patchMeta(d.client, 'Migration', metadata, { finalizers: [...(metadata.finalizers ?? []), finalizer] }),
      );
      return;
    case 'RemoveFinalizer': {
      const finalizers = (metadata.finalizers ?? []).filter((name) => name !== finalizer);
      await ignoreMissing(patchMeta(d.client, 'Migration', metadata, { finalizers }));
      return;
    }
    case 'DeleteMigration':
      await ignoreMissing(d.client.call({ method: 'DELETE', path: migrationPath(metadata.namespace, metadata.name) }));
      return;
    case 'RecordCheckpoint':
      await recordCheckpoint(action.taken, d.client);
      return;
    case 'CreateTargetPod':
      d.pods.put(await createTargetPod(action.pod, metadata.uid, d.client));
      return;
    case 'DeletePod':
      await deletePod(action.pod, action.graceSeconds, d);
      return;
    case 'PreferDeletion':
      d.pods.put(await patchPodMeta(d.client, action.pod, { annotations: { [podDeletionCost]: '-2147483647' } }));
      return;
    case 'WakeKubelet':
      d.pods.put(await patchPodMeta(d.client, action.pod, { annotations: { [annotations.started]: 'true' } }));
      return;
    case 'LabelTarget':
      d.pods.put(await patchPodMeta(d.client, action.pod, { labels: { [podTemplateHash]: action.podTemplateHash } }));
      return;
    case 'SendOrder':
      d.agents.order(action.podUid, action.order);
      return;
    default:
      assertNever(action);
  }
}

async function createTargetPod(pod: NewPod, migrationUid: string, client: KubeClient): Promise<Pod> {
  const { namespace = 'default', name } = pod.metadata;
  try {
    return (await client.call({
      method: 'POST',
      path: paths.podsIn(namespace),
      query: { fieldManager },
      body: pod,
    })) as Pod;
  } catch (error) {
    if (isAlreadyExists(error)) {
      const found = (await client.call({ method: 'GET', path: paths.pod(namespace, name) })) as Pod;
      if (found.metadata.annotations?.[annotations.restore] === migrationUid) return found;
      throw new PodferryError('TARGET_NOT_READY', `pod ${name} exists already and is not ours`, {}, { cause: error });
    }
    if (remedyFor(error) !== 'final') throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new PodferryError('TARGET_NOT_READY', `pod ${name} was refused: ${why}`, {}, { cause: error });
  }
}

async function deletePod(pod: PodRef, graceSeconds: number | undefined, d: ActDeps): Promise<void> {
  try {
    const answer = (await d.client.call({
      method: 'DELETE',
      path: paths.pod(pod.namespace, pod.name),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        preconditions: { uid: pod.uid },
        ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
      },
    })) as Partial<Pod>;
    // with a grace period the answer is the pod as it is now, without one it may be its last state: that comes by the watch
    if (graceSeconds !== 0 && answer.metadata?.uid === pod.uid) d.pods.put(answer as Pod);
  } catch (error) {
    // gone, or a pod of that name is another one by now
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

async function ignoreMissing(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
