import { instanceOf } from '../hub/welcome.ts';
import { migrationPath } from '../kube/apply.ts';
import { paths, type KubeClient } from '../kube/client.ts';
import { listAll } from '../kube/list-all.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { isFinished } from '../migration/conditions.ts';
import { parseMigration } from '../migration/parse.ts';

/** Whom the cluster, or as much of it as was looked at, still knows. */
export interface Living {
  /** Instances that have a pod, in whatever state, or that a Migration under way names. */
  readonly instances: ReadonlySet<string>;
  /** Namespaces with a Migration that cannot be read: it may name any instance. */
  readonly unclear: ReadonlySet<string>;
}

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** Pure. */
export function livingInstances(pods: Iterable<Pod>, migrations: Iterable<KubeObject>): Living {
  const instances = new Set<string>();
  const unclear = new Set<string>();
  for (const pod of pods) instances.add(instanceOf(pod)).add(pod.metadata.uid);
  for (const object of migrations) {
    const parsed = parseMigration(object);
    if (parsed === undefined) unclear.add(object.metadata.namespace ?? 'default');
    else if (!isFinished(parsed.migration.status)) for (const uid of uidsIn(object)) instances.add(uid);
  }
  return { instances, unclear };
}

/** Wherever a Migration names its instance, its pods or the key of a manifest: what it says in words no list of fields can forget. */
function uidsIn(object: KubeObject): readonly string[] {
  return JSON.stringify(object).match(uuid) ?? [];
}

/**
 * Asks the API server itself who lives in a namespace. Migrations before pods: who is between two pods has a Migration, and who has none has a pod.
 * @throws ApiError | PodferryError INTERNAL: then nothing is known
 */
export async function askLiving(client: KubeClient, namespace: string): Promise<Living> {
  const migrations = await listAll(client, migrationPath(namespace));
  const pods = await listAll<Pod>(client, paths.podsIn(namespace));
  return livingInstances(pods, migrations);
}
