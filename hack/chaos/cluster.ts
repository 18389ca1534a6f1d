import { createHash, randomUUID } from 'node:crypto';
import { assertNever } from '../../proto/errors.ts';
import { finalizer, podTemplateHash } from '../../proto/names.ts';
import { AppPhase } from '../../proto/gen/agent/v1/agent.ts';
import type { Migration } from '../../proto/migration.ts';
import { generationOf } from '../../operator/hub/welcome.ts';
import type { Pod as PodObject } from '../../operator/kube/objects.ts';
import { isCommitted } from '../../operator/migration/conditions.ts';
import type { Action, World } from '../../operator/migration/world.ts';
import * as given from '../../test/fakes/operator-objects.ts';
import type { Ground } from './ground.ts';
import { startHub, type ChaosHub, type HubOptions } from './hub.ts';
import { Pod } from './pod.ts';

const hostAddress = '127.0.0.1';

export interface ClusterOptions extends Omit<HubOptions, 'generationOf' | 'dir'> {
  readonly ground: Ground;
  readonly command: readonly string[];
}

/** A pod and its object. */
interface Entry {
  object: PodObject;
  readonly pod: Pod;
}

/** What of Kubernetes a move needs: pod objects with pods behind them, a kubelet, a ReplicaSet; and the operator's hub. */
export class Cluster {
  readonly #entries = new Map<string, Entry>();
  readonly #leaving = new Set<Promise<void>>();
  readonly #listeners = new Set<() => void>();
  readonly #sinceMs = Date.now();
  #names = 0;

  private constructor(
    private readonly options: ClusterOptions,
    readonly hub: ChaosHub,
  ) {
    hub.agents.onChange(() => {
      for (const listener of this.#listeners) listener();
    });
  }

  static async start(options: ClusterOptions): Promise<Cluster> {
    const { ground, ...rest } = options;
    let cluster: Cluster | undefined = undefined;
    const hub = await startHub({
      ...rest,
      dir: `${ground.dir}/tls`,
      generationOf: (uid) => cluster?.generationOf(uid),
    });
    return (cluster = new Cluster(options, hub));
  }

  generationOf(uid: string): number | undefined {
    const object = this.#entries.get(uid)?.object;
    return object === undefined ? undefined : generationOf(object);
  }

  object(uid: string): PodObject | undefined {
    return this.#entries.get(uid)?.object;
  }

  /** Calls back at each word of an agent. @returns what ends it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  pod(uid: string): Pod | undefined {
    return this.#entries.get(uid)?.pod;
  }

  get uids(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** A pod that no Migration has made. @returns its uid */
  async createFirst(): Promise<string> {
    const uid = randomUUID();
    const object = given.pod({ metadata: { uid, name: `web-5d4f8-${uid.slice(0, 5)}` } });
    await this.create(object, undefined);
    return uid;
  }

  async create(object: PodObject, restoreFor: string | undefined): Promise<Pod> {
    const { ground, command } = this.options;
    const { uid } = object.metadata;
    this.#names += 1;
    const name = `pod-${process.pid}-${this.#names}`;
    const running = { ...object, status: { ...given.statusOf(restoreFor === undefined), podIP: hostAddress } };
    const pod = await Pod.create(ground, { name, uid, restoreFor, command, hub: this.hub.forAgents });
    this.#entries.set(uid, { object: running, pod });
    return pod;
  }

  /** Removes a pod; `settled` waits for its end. */
  remove(uid: string): void {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return;
    this.#entries.delete(uid);
    this.hub.agents.forget(uid);
    const leaving: Promise<void> = entry.pod.remove().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  async close(): Promise<void> {
    for (const uid of this.uids) this.remove(uid);
    await this.settled();
    this.hub.close();
  }

  /** What the operator would see. */
  world(migration: Migration, sourceUid: string, targetUid: string | undefined): World {
    this.#kubelets(migration, sourceUid, targetUid);
    const target = targetUid === undefined ? undefined : this.#entries.get(targetUid)?.object;
    return {
      migration,
      invalid: undefined,
      source: this.#entries.get(sourceUid)?.object,
      sourceAgent: this.hub.agents.view(sourceUid),
      sourceNodeIsReady: true,
      replicaSet: given.replicaSet(),
      isOfDeployment: true,
      target,
      targetAgent: targetUid === undefined ? undefined : this.hub.agents.view(targetUid),
      targetNodeIsReady: true,
      namedNode: undefined,
      claims: new Map(),
      otherMigration: undefined,
      secret: createHash('sha256').update(migration.metadata.uid).digest(),
      hubSinceMs: this.#sinceMs,
    };
  }

  /** Carries out an action of a plan. @returns the uid of a target it made */
  async act(action: Action, migration: Migration): Promise<string | undefined> {
    switch (action.kind) {
      case 'CreateTargetPod': {
        const uid = randomUUID();
        const meta = { ...action.pod.metadata, uid, resourceVersion: '1', creationTimestamp: new Date().toISOString() };
        const spec = { ...action.pod.spec, nodeName: uid.slice(0, 5) };
        await this.create({ metadata: meta, spec }, migration.metadata.uid);
        return uid;
      }
      case 'DeletePod':
        this.remove(action.pod.uid);
        return undefined;
      case 'LabelTarget':
        this.#adopt(action.pod.uid, action.podTemplateHash);
        return undefined;
      case 'SendOrder':
        this.hub.agents.order(action.podUid, action.order);
        return undefined;
      case 'AddFinalizer':
      case 'RemoveFinalizer':
      case 'DeleteMigration':
      case 'RecordCheckpoint':
      case 'PreferDeletion':
      case 'WakeKubelet':
        return undefined;
      default:
        return assertNever(action);
    }
  }

  /** The ReplicaSet has one pod too many then, and takes the one that is not ready. */
  #adopt(uid: string, hash: string): void {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return;
    const { ownerReferences } = given.pod().metadata;
    const { object } = entry;
    const labels = { ...object.metadata.labels, [podTemplateHash]: hash };
    entry.object = { ...object, metadata: { ...object.metadata, labels, ...(ownerReferences && { ownerReferences }) } };
    for (const other of this.uids) if (other !== uid) this.remove(other);
  }

  #kubelets(migration: Migration, sourceUid: string, targetUid: string | undefined): void {
    const committed = isCommitted(migration.status);
    const serves = (uid: string): boolean => {
      const view = this.hub.agents.view(uid);
      return view?.state?.phase === AppPhase.APP_PHASE_RUNNING;
    };
    for (const [uid, entry] of this.#entries) {
      const isReady = uid === sourceUid ? !committed : uid === targetUid && committed && serves(uid);
      entry.object = { ...entry.object, status: { ...given.statusOf(isReady), podIP: hostAddress } };
    }
  }
}

/** A Migration of this pod that has just been asked for. */
export function newMigration(source: PodObject | undefined, strategy: Migration['spec']['strategy']): Migration {
  return given.migration({
    metadata: { uid: randomUUID(), name: 'move', finalizers: [finalizer] },
    spec: { podName: source?.metadata.name ?? '', strategy, timeoutSeconds: 30 },
  });
}
