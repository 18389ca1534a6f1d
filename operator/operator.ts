import { annotations, systemNamespace } from '../proto/names.ts';
import type { CheckpointPlace } from '../proto/store-layout.ts';
import type { Retention, Store } from '../proto/gen/agent/v1/agent.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import type { Clock } from './clock.ts';
import { reconcileApp } from './app/reconcile.ts';
import { parseCheckpoint } from './checkpoint/parse.ts';
import { reconcileSchedule } from './checkpoint/reconcile-schedule.ts';
import { reconcile as reconcileCheckpoint, type Deps as CheckpointDeps } from './checkpoint/reconcile.ts';
import { isOver } from './checkpoint/world.ts';
import { startCollecting, type CollectingTimes } from './collecting/collecting.ts';
import { createAgents, type PodIdentity } from './hub/agents.ts';
import { createAuthenticate } from './hub/auth.ts';
import { createHub, type Hub } from './hub/hub.ts';
import { instanceOf, welcomeFor } from './hub/welcome.ts';
import { collectionOf, migrationsPath } from './kube/apply.ts';
import { paths, type KubeClient } from './kube/client.ts';
import type { Keys } from './keys/keys.ts';
import { createEvents } from './kube/events.ts';
import { createInformer, type Informer } from './kube/informer.ts';
import {
  keyOf,
  type Deployment,
  type Key,
  type KubeObject,
  type Node,
  type PersistentVolumeClaim,
  type Pod,
  type ReplicaSet,
} from './kube/objects.ts';
import { reconcileInjection } from './injection/reconcile-injection.ts';
import type { Seen } from './injection/plan-injection.ts';
import { createQueue, type Queue } from './kube/queue.ts';
import { isFinished } from './migration/conditions.ts';
import { parseMigration } from './migration/parse.ts';
import { reconcile, reconcileErrorFields, type Deps } from './migration/reconcile.ts';
import { createConfigs } from './policy/configs.ts';
import { policyOf } from './policy/policy-of.ts';
import type { Policy } from './policy/resolve.ts';
import { reconcileServing } from './serving/reconcile-serving.ts';
import { releaseCheckpoint } from './store/checkpoints.ts';
import type { ObjectStore } from './store/object-store.ts';
import type { ScopedStores } from './store/scoped-store.ts';
import { reconcileTrigger } from './trigger/reconcile-trigger.ts';

export interface OperatorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  /** Without it agents get `store` as it is. */
  readonly scoped?: ScopedStores | undefined;
  readonly prefix: string;
  readonly retention: Retention;
  readonly keys: Keys;
  /** Where checkpoints are released, and what instances that are gone have left; undefined: the operator does not reach it. */
  readonly objects?: ObjectStore | undefined;
  readonly collecting?: CollectingTimes | undefined;
  /** Opted-in Deployments that were not injected are not only told of. */
  readonly isRepairing?: boolean;
  /** Where the ConfigMap of the installation's policy is; by default where Podferry is installed. */
  readonly namespace?: string;
}

export interface Operator {
  readonly hub: Hub;
  /** Begins to fill the caches. */
  start(): void;
  /** Takes agents in and works on Migrations and pods, from now until `stop`. */
  lead(): void;
  /** What keeps the operator from working, in words. */
  problems(): readonly string[];
  /** Ends the streams and the work under way. */
  stop(): Promise<void>;
}

type Work = Readonly<Record<'migrations' | 'pods' | 'checkpoints' | 'apps' | 'deployments', Queue>> & {
  readonly collecting: { stop(): Promise<void> } | undefined;
};

const staleAfterMs = 180_000;
const releaseWithinMs = 30_000;

/** The operator without its process: builds the parts and wires wake-ups to queues. */
export function createOperator(options: OperatorOptions): Operator {
  const { client, clock, log, keys } = options;
  function informer<T extends KubeObject>(path: string): Informer<T> {
    return createInformer<T>({
      client,
      path,
      clock,
      onError: (error) => log.warn('watch failed', { path, ...errorFields(error) }),
    });
  }
  const migrations = informer<KubeObject>(migrationsPath);
  const pods = informer<Pod>(paths.pods);
  const replicaSets = informer<ReplicaSet>(paths.replicaSets);
  const jobs = informer<KubeObject>(paths.jobs);
  const nodes = informer<Node>(paths.nodes);
  const claims = informer<PersistentVolumeClaim>(paths.claims);
  const apps = informer<KubeObject>(collectionOf('MigratableApp'));
  const checkpoints = informer<KubeObject>(collectionOf('Checkpoint'));
  const deployments = informer<Deployment>(paths.deployments);
  const informers = { migrations, pods, replicaSets, jobs, nodes, claims, apps, checkpoints, deployments };
  const configs = createConfigs(client, clock, options.namespace ?? systemNamespace);
  const agents = createAgents(clock);
  const events = createEvents(client, clock, log);
  let work: Work | undefined;

  const hub = createHub({
    authenticate: createAuthenticate(client, pods, clock),
    agents,
    welcomeFor: (podUid) => welcomeFor(podUid, { ...options, pods, replicaSets, jobs }),
    isLeading: () => work !== undefined,
    log,
  });

  /** Wakes every unfinished Migration that a change may concern. */
  function wakeMigrations(concerns: (raw: ReturnType<typeof parseMigration>) => boolean): void {
    for (const object of migrations.list()) {
      const parsed = parseMigration(object);
      if (parsed !== undefined && !isFinished(parsed.migration.status) && concerns(parsed)) {
        work?.migrations.add(keyOf(object));
      }
    }
  }

  /** Wakes every Checkpoint that a change of a pod may concern. */
  function wakeCheckpoints({ uid, namespace, name }: PodIdentity): void {
    const pod = pods.byUid(uid);
    const instance = pod === undefined ? uid : instanceOf(pod);
    for (const object of checkpoints.list()) {
      if (object.metadata.namespace !== namespace) continue;
      const { spec, status } = parseCheckpoint(object)?.checkpoint ?? {};
      if (status?.instance === instance || status?.source?.uid === uid || spec?.podName === name) {
        work?.checkpoints.add(keyOf(object));
      }
    }
  }

  /** Wakes the MigratableApps of a namespace. */
  function wakeApps({ metadata }: KubeObject): void {
    for (const app of apps.list()) if (app.metadata.namespace === metadata.namespace) work?.apps.add(keyOf(app));
  }

  function podChanged({ uid, namespace, name }: PodIdentity, restoreUid: string | undefined): void {
    work?.pods.add(`${namespace}/${name}`);
    wakeCheckpoints({ uid, namespace, name });
    wakeMigrations((parsed) => {
      const { metadata, spec, status } = parsed?.migration ?? {};
      const isNamed = metadata?.namespace === namespace && spec?.podName === name;
      return isNamed || status?.source?.uid === uid || status?.target?.uid === uid || metadata?.uid === restoreUid;
    });
  }

  agents.onChange((pod) => podChanged(pod, pods.byUid(pod.uid)?.metadata.annotations?.[annotations.restore]));
  pods.onChange((pod, isDeleted) => {
    const { uid, namespace = 'default', name } = pod.metadata;
    if (isDeleted) agents.forget(uid);
    if (!isOfInterest(pod)) return;
    podChanged({ uid, namespace, name }, pod.metadata.annotations?.[annotations.restore]);
  });
  migrations.onChange((object) => {
    work?.migrations.add(keyOf(object));
    wakeApps(object);
    const status = parseMigration(object)?.migration.status;
    for (const uid of [status?.source?.uid, status?.target?.uid]) {
      const pod = uid === undefined ? undefined : pods.byUid(uid);
      if (pod !== undefined) work?.pods.add(keyOf(pod));
    }
    const { namespace = 'default' } = object.metadata;
    const name = parseMigration(object)?.migration.spec.podName ?? '';
    wakeCheckpoints({ uid: status?.source?.uid ?? '', namespace, name });
  });
  checkpoints.onChange((object, isDeleted) => {
    work?.checkpoints.add(keyOf(object));
    wakeApps(object);
    const changed = parseCheckpoint(object)?.checkpoint.status;
    if (!isDeleted && changed !== undefined && !isOver(changed)) return;
    // the next one of its node may have its turn
    for (const other of checkpoints.list()) {
      const status = parseCheckpoint(other)?.checkpoint.status;
      if (status !== undefined && !isOver(status)) work?.checkpoints.add(keyOf(other));
    }
  });
  deployments.onChange(wakeApps);
  apps.onChange((object) => {
    wakeApps(object);
    // its pods have another policy now
    for (const pod of pods.list()) {
      if (pod.metadata.namespace === object.metadata.namespace && isOfInterest(pod)) work?.pods.add(keyOf(pod));
    }
  });
  replicaSets.onChange(({ metadata }) => {
    wakeMigrations((parsed) => parsed?.migration.metadata.namespace === metadata.namespace);
  });
  nodes.onChange(({ metadata }) => {
    wakeMigrations((parsed) =>
      [parsed?.migration.status.source?.node, parsed?.migration.status.target?.node].includes(metadata.name),
    );
  });

  deployments.onChange((deployment) => work?.deployments.add(keyOf(deployment)));

  const policy = async (pod: Pod): Promise<Policy> => policyOf(pod, { apps, replicaSets, jobs, configs });

  async function reconcilePod(key: Key): Promise<{ readonly requeueAfterMs?: number }> {
    const pod = pods.get(key);
    if (pod === undefined) return {};
    await reconcileServing(pod, { client, clock, pods, migrations, agents });
    await reconcileTrigger(pod, { client, events, pods, migrations, policyOf: policy });
    return reconcileSchedule(pod, { client, clock, events, agents, migrations, checkpoints, policyOf: policy });
  }

  const { objects } = options;
  const release =
    objects &&
    (async (place: CheckpointPlace): Promise<void> =>
      releaseCheckpoint(objects, place, AbortSignal.timeout(releaseWithinMs)));

  function collect(): { stop(): Promise<void> } | undefined {
    const { prefix, retention, collecting: times, store } = options;
    if (objects === undefined) {
      log.info('what instances that are gone have stored stays: the operator does not reach the store', {
        type: store.type,
      });
      return undefined;
    }
    return startCollecting({
      objects,
      prefix,
      ttlMs: retention.ttlSeconds * 1_000,
      client,
      clock,
      pods,
      migrations,
      log,
      times,
    });
  }

  return {
    hub,
    start() {
      for (const each of Object.values(informers)) each.start();
    },
    lead() {
      const deps: Deps = { ...informers, client, clock, log, events, agents, keys, hubSinceMs: clock.now() };
      const podQueue = createQueue({
        workers: 4,
        clock,
        work: reconcilePod,
        onError: (key, error, delayMs) => log.warn('pod not reconciled', { pod: key, delayMs, ...errorFields(error) }),
      });
      const migrationQueue = createQueue({
        workers: 8,
        clock,
        work: (key) => reconcile(key, deps),
        onError: (key, error, delayMs) =>
          log.warn('migration not reconciled', reconcileErrorFields(key, error, delayMs)),
      });
      const { isRepairing = false } = options;
      const injection = { client, clock, log, events, deployments, isRepairing, seen: new Map<Key, Seen>() };
      const deploymentQueue = createQueue({
        workers: 1,
        clock,
        work: (key) => reconcileInjection(key, injection),
        onError: (key, error, delayMs) =>
          log.warn('injection not looked after', { deployment: key, delayMs, ...errorFields(error) }),
      });
      const checkpointDeps: CheckpointDeps = {
        ...deps,
        checkpoints,
        jobs,
        release,
        ttlSeconds: options.retention.ttlSeconds,
      };
      const checkpointQueue = createQueue({
        workers: 8,
        clock,
        work: (key) => reconcileCheckpoint(key, checkpointDeps),
        onError: (key, error, delayMs) =>
          log.warn('checkpoint not reconciled', { checkpoint: key, delayMs, ...errorFields(error) }),
      });
      const appQueue = createQueue({
        workers: 2,
        clock,
        work: (key) => reconcileApp(key, { client, clock, apps, deployments, checkpoints, migrations }),
        onError: (key, error, delayMs) => log.warn('app not reconciled', { app: key, delayMs, ...errorFields(error) }),
      });
      work = {
        migrations: migrationQueue,
        pods: podQueue,
        checkpoints: checkpointQueue,
        apps: appQueue,
        deployments: deploymentQueue,
        collecting: collect(),
      };
      for (const object of deployments.list()) deploymentQueue.add(keyOf(object));
      for (const object of migrations.list()) migrationQueue.add(keyOf(object));
      for (const object of checkpoints.list()) checkpointQueue.add(keyOf(object));
      for (const object of apps.list()) appQueue.add(keyOf(object));
      for (const pod of pods.list()) if (isOfInterest(pod)) podQueue.add(keyOf(pod));
    },
    problems() {
      return Object.entries(informers).flatMap(([name, each]) => {
        if (!each.hasSynced()) return [`${name} are not listed yet`];
        return each.staleMs() > staleAfterMs ? [`${name} have not been heard of for ${each.staleMs()} ms`] : [];
      });
    },
    async stop() {
      const stopping = work;
      work = undefined;
      hub.close();
      await Promise.all([
        ...Object.values(stopping ?? {}).map(async (part) => part?.stop()),
        ...Object.values(informers).map(async (each) => each.stop()),
      ]);
    },
  };
}

/** Pods that are neither injected nor ask for a move are none of our business. */
function isOfInterest({ metadata }: Pod): boolean {
  return (
    metadata.annotations?.[annotations.injected] !== undefined ||
    metadata.annotations?.[annotations.trigger] !== undefined
  );
}
