import { apiVersion, fieldManager } from '../../proto/names.ts';
import { applyStatus, pathOf } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import { isAlreadyExists } from '../kube/errors.ts';
import type { KubeObject } from '../kube/objects.ts';
import { parseCheckpoint } from './parse.ts';
import type { NewCheckpoint } from './of-move.ts';

/** Makes a Checkpoint; when there is one of that name, that one is returned. @throws ApiError */
export async function createCheckpoint(
  { name, namespace, labels, spec }: NewCheckpoint,
  client: KubeClient,
): Promise<KubeObject> {
  try {
    const body = { apiVersion, kind: 'Checkpoint', metadata: { name, namespace, labels }, spec };
    const path = pathOf('Checkpoint', namespace);
    return (await client.call({ method: 'POST', path, query: { fieldManager }, body })) as KubeObject;
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return (await client.call({ method: 'GET', path: pathOf('Checkpoint', namespace, name) })) as KubeObject;
  }
}

/** Makes a Checkpoint that is complete already; again after any failure, it goes on where it was. @throws ApiError */
export async function recordCheckpoint(taken: NewCheckpoint, client: KubeClient): Promise<void> {
  const made = parseCheckpoint(await createCheckpoint(taken, client))?.checkpoint;
  const isOurs = made?.spec.migrationName === taken.spec.migrationName && made?.spec.podName === taken.spec.podName;
  if (made === undefined || !isOurs || made.status.id !== undefined) return;
  await applyStatus(client, 'Checkpoint', made.metadata, taken.status);
}
