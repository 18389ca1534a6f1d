import { annotations } from '../../proto/names.ts';
import type { Migration } from '../../proto/migration.ts';
import type { Agents } from '../hub/agents.ts';
import type { Keys } from '../keys/keys.ts';
import type { Cache } from '../kube/informer.ts';
import {
  controllerOf,
  isReady,
  keyOf,
  type Key,
  type KubeObject,
  hasEnded,
  type Node,
  type PersistentVolumeClaim,
  type Pod,
  type ReplicaSet,
} from '../kube/objects.ts';
import { isFinished, isTrue } from './conditions.ts';
import type { NamedNode } from './node-fit.ts';
import { parseMigration } from './parse.ts';
import { targetPodName } from './target-pod.ts';
import { attempt, type World } from './world.ts';

/** Where the world is read from: caches only, no request is made. */
export interface Sources {
  readonly migrations: Cache<KubeObject>;
  readonly pods: Cache<Pod>;
  readonly replicaSets: Cache<ReplicaSet>;
  readonly nodes: Cache<Node>;
  readonly claims: Cache<PersistentVolumeClaim>;
  readonly agents: Pick<Agents, 'view'>;
  readonly keys: Pick<Keys, 'moveSecret'>;
  readonly hubSinceMs: number;
}

/** @returns undefined when the Migration is gone or its status cannot be read */
export function observe(key: Key, s: Sources): World | undefined {
  const object = s.migrations.get(key);
  const parsed = object === undefined ? undefined : parseMigration(object);
  if (parsed === undefined) return undefined;
  const { migration, invalid } = parsed;
  const { status, metadata, spec } = migration;

  const source =
    status.source === undefined ? s.pods.get(`${metadata.namespace}/${spec.podName}`) : s.pods.byUid(status.source.uid);
  const target = targetOf(migration, s);
  const replicaSetUid =
    (source === undefined ? undefined : controllerOf(source)?.uid) ??
    target?.metadata.annotations?.[annotations.replicaSet];
  const replicaSet = replicaSetUid === undefined ? undefined : s.replicaSets.byUid(replicaSetUid);
  return {
    migration,
    invalid,
    source,
    sourceAgent: source === undefined ? undefined : s.agents.view(source.metadata.uid),
    sourceNodeIsReady: isNodeReady(source, s),
    replicaSet,
    isOfDeployment: replicaSet !== undefined && controllerOf(replicaSet)?.kind === 'Deployment',
    target,
    targetAgent: target === undefined ? undefined : s.agents.view(target.metadata.uid),
    targetNodeIsReady: isNodeReady(target, s),
    namedNode: isTrue(status, 'Accepted') ? undefined : namedNode(spec.targetNode, s),
    claims: claimsOf(source, s),
    otherMigration: source === undefined ? undefined : otherMigration(migration, source, s),
    secret: s.keys.moveSecret(metadata.uid, status.attempt ?? attempt),
    hubSinceMs: s.hubSinceMs,
  };
}

/** By uid once recorded. Before that by its name, which is certain, when the pod says that it is for this Migration. */
function targetOf({ status, metadata }: Migration, s: Sources): Pod | undefined {
  if (status.target?.uid !== undefined) return s.pods.byUid(status.target.uid);
  if (status.source === undefined || status.generation === undefined) return undefined;
  const name = targetPodName(status.source.pod, status.generation, metadata.uid);
  const pod = s.pods.get(`${metadata.namespace}/${name}`);
  return pod?.metadata.annotations?.[annotations.restore] === metadata.uid ? pod : undefined;
}

/** A pod that is on no node yet is on none that is not ready. */
function isNodeReady(pod: Pod | undefined, s: Sources): boolean {
  const name = pod?.spec.nodeName;
  return name === undefined || isReady(s.nodes.get(`/${name}`));
}

function namedNode(name: string | undefined, s: Sources): NamedNode | undefined {
  if (name === undefined) return undefined;
  const pods = Array.from(s.pods.list()).filter((pod) => pod.spec.nodeName === name && !hasEnded(pod));
  return { name, node: s.nodes.get(`/${name}`), pods };
}

function claimsOf(pod: Pod | undefined, s: Sources): ReadonlyMap<string, PersistentVolumeClaim> {
  const names = pod?.spec.volumes?.flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []) ?? [];
  return new Map(
    names.flatMap((name) => {
      const claim = s.claims.get(`${pod?.metadata.namespace ?? 'default'}/${name}`);
      return claim === undefined ? [] : [[name, claim] as const];
    }),
  );
}

function otherMigration(migration: Migration, source: Pod, s: Sources): string | undefined {
  for (const object of s.migrations.list()) {
    if (object.metadata.uid === migration.metadata.uid) continue;
    if (object.metadata.namespace !== migration.metadata.namespace) continue;
    const other = parseMigration(object)?.migration;
    if (other === undefined || isFinished(other.status)) continue;
    // one that only waits for the last pages is no obstacle: whoever moves the pod next waits for them too
    const makesIt = other.status.target?.uid === source.metadata.uid && !isTrue(other.status, 'CutOver');
    const movesIt =
      other.status.source === undefined
        ? other.spec.podName === source.metadata.name
        : other.status.source.uid === source.metadata.uid;
    if (makesIt || (movesIt && cameFirst(other, migration))) return keyOf(object);
  }
  return undefined;
}

function cameFirst({ metadata: a }: Migration, { metadata: b }: Migration): boolean {
  return a.creationTimestamp === b.creationTimestamp ? a.uid < b.uid : a.creationTimestamp < b.creationTimestamp;
}
