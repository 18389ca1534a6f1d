import type { Checkpoint } from '../../proto/checkpoint.ts';
import type { Migration } from '../../proto/migration.ts';
import { labels } from '../../proto/names.ts';
import { isRunning, type Agents } from '../hub/agents.ts';
import { instanceOf, workloadOf, type Controllers } from '../hub/welcome.ts';
import type { Cache } from '../kube/informer.ts';
import type { Key, KubeObject, Pod } from '../kube/objects.ts';
import { isFinished } from '../migration/conditions.ts';
import { parseMigration } from '../migration/parse.ts';
import { parseCheckpoint } from './parse.ts';
import { hasStarted, isOver, type World } from './world.ts';

/** Where the world is read from: caches only, no request is made. */
export interface Sources extends Controllers {
  readonly checkpoints: Cache<KubeObject>;
  readonly migrations: Cache<KubeObject>;
  readonly pods: Cache<Pod>;
  readonly agents: Pick<Agents, 'view'>;
  readonly canRelease: boolean;
  readonly ttlSeconds: number;
}

/** @returns undefined when the Checkpoint is gone or its status cannot be read */
export function observe(key: Key, s: Sources): World | undefined {
  const object = s.checkpoints.get(key);
  const parsed = object === undefined ? undefined : parseCheckpoint(object);
  if (parsed === undefined) return undefined;
  const { checkpoint, invalid } = parsed;
  const { metadata, spec, status } = checkpoint;
  const pod =
    status.source === undefined ? s.pods.get(`${metadata.namespace}/${spec.podName}`) : s.pods.byUid(status.source.uid);
  const server = status.id === undefined ? undefined : serverOf(checkpoint, s);
  return {
    checkpoint,
    invalid,
    pod,
    agent: pod === undefined ? undefined : s.agents.view(pod.metadata.uid),
    workload: pod === undefined ? undefined : workloadOf(pod, s),
    migration: pod === undefined ? undefined : migrationOf(pod, s.migrations),
    hasTurn: pod !== undefined && !isOver(status) && hasTurn(checkpoint, pod, s),
    isInUse:
      status.instance !== undefined &&
      unfinished(metadata.namespace, s.migrations).some((each) => each.status.instance === status.instance),
    isServed: server !== undefined,
    isStored: server?.stored?.ids.includes(status.id ?? ''),
    isSuperseded: isSuperseded(checkpoint, s.checkpoints),
    canRelease: s.canRelease,
    ttlSeconds: s.ttlSeconds,
  };
}

function unfinished(namespace: string | undefined, migrations: Cache<KubeObject>): readonly Migration[] {
  return [...migrations.list()].flatMap((object) => {
    if (object.metadata.namespace !== namespace) return [];
    const migration = parseMigration(object)?.migration;
    return migration === undefined || isFinished(migration.status) ? [] : [migration];
  });
}

/** The unfinished Migration that moves this pod, or brings its process. One that only waits for the last pages counts, too: no checkpoint before these. */
export function migrationOf(pod: Pod, migrations: Cache<KubeObject>): string | undefined {
  const { uid, name, namespace } = pod.metadata;
  return unfinished(namespace, migrations).find(({ spec, status }) => {
    const isTarget = status.target?.uid === uid;
    return isTarget || (status.source === undefined ? spec.podName === name : status.source.uid === uid);
  })?.metadata.name;
}

/** The word of the agent that serves the instance now. */
function serverOf({ metadata, status }: Checkpoint, s: Sources) {
  for (const pod of s.pods.list()) {
    if (pod.metadata.namespace !== metadata.namespace || instanceOf(pod) !== status.instance) continue;
    const view = s.agents.view(pod.metadata.uid);
    if (isRunning(view)) return view?.state;
  }
  return undefined;
}

/** One at a time on each node: the one under way, else the first of those that could begin. */
function hasTurn(checkpoint: Checkpoint, pod: Pod, s: Sources): boolean {
  if (hasStarted(checkpoint.status)) return true;
  for (const object of s.checkpoints.list()) {
    const other = object.metadata.uid === checkpoint.metadata.uid ? undefined : parseCheckpoint(object)?.checkpoint;
    if (other === undefined || isOver(other.status) || other.spec.migrationName !== undefined) continue;
    if (hasStarted(other.status)) {
      if (other.status.source?.node === pod.spec.nodeName) return false;
      continue;
    }
    const its = s.pods.get(`${other.metadata.namespace}/${other.spec.podName}`);
    const couldBegin =
      its !== undefined && isRunning(s.agents.view(its.metadata.uid)) && migrationOf(its, s.migrations) === undefined;
    if (couldBegin && its.spec.nodeName === pod.spec.nodeName && cameFirst(other, checkpoint)) return false;
  }
  return true;
}

function isSuperseded(checkpoint: Checkpoint, checkpoints: Cache<KubeObject>): boolean {
  if (checkpoint.metadata.labels?.[labels.intervalOf] === undefined) return false;
  for (const object of checkpoints.list()) {
    if (object.metadata.labels?.[labels.intervalOf] === undefined) continue;
    const other = parseCheckpoint(object)?.checkpoint;
    if (other === undefined || !isOver(other.status) || !isOfSame(other, checkpoint)) continue;
    if (cameFirst(checkpoint, other)) return true;
  }
  return false;
}

/** Of one instance, or, when that was never found out, of pods of one name. */
function isOfSame(a: Checkpoint, b: Checkpoint): boolean {
  if (a.metadata.namespace !== b.metadata.namespace) return false;
  if (a.status.instance !== undefined && b.status.instance !== undefined)
    return a.status.instance === b.status.instance;
  return a.spec.podName === b.spec.podName;
}

function cameFirst({ metadata: a }: Checkpoint, { metadata: b }: Checkpoint): boolean {
  return a.creationTimestamp === b.creationTimestamp ? a.uid < b.uid : a.creationTimestamp < b.creationTimestamp;
}
