import { apiVersion, fieldManager, group, version } from '../../proto/names.ts';
import type { Migration, MigrationStatus, ObjectMeta } from '../../proto/migration.ts';
import { patchTypes, paths, pathTo, type KubeClient } from './client.ts';
import type { KubeObject, Pod } from './objects.ts';

/** Our custom resources. */
export type CustomKind = 'Migration' | 'Checkpoint' | 'MigratableApp';

const pluralOf = (kind: CustomKind): string => `${kind.toLowerCase()}s`;

/** All objects of a kind, in all namespaces. */
export function collectionOf(kind: CustomKind): string {
  return `/apis/${group}/${version}/${pluralOf(kind)}`;
}

/** The objects of a kind in a namespace, or one of them. */
export function pathOf(kind: CustomKind, namespace: string, ...name: readonly string[]): string {
  return pathTo(`/apis/${group}/${version}/namespaces`, namespace, pluralOf(kind), ...name);
}

/** The collection of Migrations in all namespaces. */
export const migrationsPath = collectionOf('Migration');

/** The Migrations of a namespace, or one of them. */
export function migrationPath(namespace: string, ...name: readonly string[]): string {
  return pathOf('Migration', namespace, ...name);
}

/** As `applyStatus`, of a Migration. */
export async function applyMigrationStatus(
  client: KubeClient,
  metadata: Migration['metadata'],
  status: MigrationStatus,
): Promise<KubeObject> {
  return applyStatus(client, 'Migration', metadata, status);
}

/**
 * Writes the whole status of one of our objects. The resource version we planned from goes with it: when anyone wrote in between,
 * nothing is written and the caller plans again.
 * @returns the stored object
 * @throws ApiError 409 when the object has changed or is another one
 */
export async function applyStatus(
  client: KubeClient,
  kind: CustomKind,
  metadata: ObjectMeta,
  status: unknown,
): Promise<KubeObject> {
  const { name, namespace, resourceVersion, uid } = metadata;
  return (await client.call({
    method: 'PATCH',
    path: `${pathOf(kind, namespace, name)}/status`,
    query: { fieldManager, force: true },
    contentType: patchTypes.apply,
    body: { apiVersion, kind, metadata: { name, namespace, resourceVersion, uid }, status },
  })) as KubeObject;
}

/** Merge patch of the metadata of one of our objects. @throws ApiError 409 when it has changed since. */
export async function patchMeta(
  client: KubeClient,
  kind: CustomKind,
  metadata: ObjectMeta,
  change: Readonly<Record<string, unknown>>,
): Promise<KubeObject> {
  const { name, namespace, resourceVersion } = metadata;
  return (await client.call({
    method: 'PATCH',
    path: pathOf(kind, namespace, name),
    query: { fieldManager },
    contentType: patchTypes.merge,
    body: { metadata: { resourceVersion, ...change } },
  })) as KubeObject;
}

/** Merge patch of labels and annotations of exactly this pod. @throws ApiError 409 when a pod of that name is another one. */
export async function patchPodMeta(
  client: KubeClient,
  pod: { readonly namespace: string; readonly name: string; readonly uid: string },
  change: {
    readonly labels?: Readonly<Record<string, string | null>>;
    readonly annotations?: Readonly<Record<string, string | null>>;
  },
): Promise<Pod> {
  return (await client.call({
    method: 'PATCH',
    path: paths.pod(pod.namespace, pod.name),
    query: { fieldManager },
    contentType: patchTypes.merge,
    body: { metadata: { uid: pod.uid, ...change } },
  })) as Pod;
}

/**
 * Sets one condition of a pod, leaving those of the kubelet and of others alone (server-side apply merges by type).
 * @throws ApiError 409 when a pod of that name is another one
 */
export async function applyPodCondition(
  client: KubeClient,
  pod: { readonly namespace: string; readonly name: string; readonly uid: string },
  condition: {
    readonly type: string;
    readonly status: 'True' | 'False';
    readonly reason: string;
    readonly lastTransitionTime: string;
  },
): Promise<Pod> {
  return (await client.call({
    method: 'PATCH',
    path: `${paths.pod(pod.namespace, pod.name)}/status`,
    query: { fieldManager, force: true },
    contentType: patchTypes.apply,
    body: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod.name, namespace: pod.namespace, uid: pod.uid },
      status: { conditions: [condition] },
    },
  })) as Pod;
}
