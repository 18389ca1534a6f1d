import type { Workload } from '../../proto/migration.ts';
import { annotations } from '../../proto/names.ts';
import { instancePrefix } from '../../proto/store-layout.ts';
import type { Retention, Store, Welcome } from '../../proto/gen/agent/v1/agent.ts';
import type { Cache } from '../kube/informer.ts';
import type { Keys } from '../keys/keys.ts';
import { controllerOf, type KubeObject, type Pod, type ReplicaSet } from '../kube/objects.ts';
import type { ScopedStores } from '../store/scoped-store.ts';

/** What may stand between a pod and its workload. */
export interface Controllers {
  readonly replicaSets: Cache<ReplicaSet>;
  readonly jobs: Cache<KubeObject>;
}

export interface WelcomeDeps extends Controllers {
  readonly pods: Cache<Pod>;
  readonly store: Store;
  /** With it agents get this instead of `store`. @throws PodferryError */
  readonly scoped?: Pick<ScopedStores, 'storeFor'> | undefined;
  /** Key prefix of everything in the bucket; may be empty. */
  readonly prefix: string;
  readonly retention: Retention;
  readonly keys: Pick<Keys, 'id' | 'dataKey'>;
}

/**
 * Where the instance of a pod keeps its checkpoints: `<prefix>/<namespace>/<kind>-<name>/<instance>/`.
 * @returns undefined when the owner is not known (yet)
 * @throws PodferryError of the one that gives scoped credentials
 */
export async function welcomeFor(podUid: string, d: WelcomeDeps): Promise<Welcome | undefined> {
  const pod = d.pods.byUid(podUid);
  if (pod === undefined) return undefined;
  const workload = workloadOf(pod, d);
  if (workload === undefined) return undefined;
  const instance = instanceOf(pod);
  const keyPrefix = instancePrefix(d.prefix, { namespace: pod.metadata.namespace ?? '', workload, instance });
  return {
    store: d.scoped === undefined ? d.store : await d.scoped.storeFor(keyPrefix, instance),
    keyPrefix,
    generation: generationOf(pod),
    instance,
    dataKey: d.keys.dataKey(instance),
    keyId: d.keys.id,
    retention: d.retention,
  };
}

/** The lineage of a pod: inherited from its source, or begun by itself. */
export function instanceOf(pod: Pod): string {
  return pod.metadata.annotations?.[annotations.instance] ?? pod.metadata.uid;
}

/** How many moves the instance has behind it; something else than a number counts as none. */
export function generationOf(pod: Pod): number {
  const text = pod.metadata.annotations?.[annotations.generation] ?? '0';
  return /^\d{1,9}$/.test(text) ? Number(text) : 0;
}

/**
 * What a pod belongs to, by its owner references and never by names: the Deployment, the CronJob, or what else controls it,
 * or the pod itself. A target has no owner until the cutover: it belongs to the ReplicaSet that will adopt it.
 * @returns undefined while a controller in between is unknown
 */
export function workloadOf(pod: Pod, { replicaSets, jobs }: Controllers): Workload | undefined {
  const adopter = pod.metadata.annotations?.[annotations.replicaSet];
  const future = adopter === undefined ? undefined : { apiVersion: 'apps/v1', kind: 'ReplicaSet', uid: adopter };
  const owner = controllerOf(pod) ?? future;
  if (owner === undefined) return { kind: 'Pod', name: pod.metadata.name };
  const controllers: Readonly<Record<string, Cache<KubeObject>>> = {
    'apps/ReplicaSet': replicaSets,
    'batch/Job': jobs,
  };
  const between = controllers[`${groupOf(owner)}/${owner.kind}`];
  if (between === undefined) return 'name' in owner ? { kind: owner.kind, name: owner.name } : undefined;
  const found = between.byUid(owner.uid);
  if (found === undefined) return undefined;
  const { kind, name } = controllerOf(found) ?? { kind: owner.kind, name: found.metadata.name };
  return { kind, name };
}

function groupOf({ apiVersion }: { readonly apiVersion: string }): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}
