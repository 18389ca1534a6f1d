import { annotations, servingGate } from '../../proto/names.ts';
import type { MigrationStatus } from '../../proto/migration.ts';
import type { Clock } from '../clock.ts';
import type { Agents } from '../hub/agents.ts';
import { applyPodCondition } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import type { Cache, Informer } from '../kube/informer.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { parseMigration } from '../migration/parse.ts';
import { refOf } from '../migration/world.ts';
import { planServing } from './plan-serving.ts';

export interface ServingDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly pods: Pick<Informer<Pod>, 'put'>;
  readonly migrations: Cache<KubeObject>;
  readonly agents: Pick<Agents, 'view'>;
}

/** Keeps the readiness gate of one pod. @throws ApiError, for the queue's back-off */
export async function reconcileServing(pod: Pod, d: ServingDeps): Promise<void> {
  const value = planServing({
    pod,
    agent: d.agents.view(pod.metadata.uid),
    asSource: movesOf(pod, d.migrations),
    asTarget: moveTo(pod, d.migrations),
  });
  if (value === undefined) return;
  const lastTransitionTime = new Date(d.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  try {
    d.pods.put(await applyPodCondition(d.client, refOf(pod), { type: servingGate, ...value, lastTransitionTime }));
  } catch (error) {
    // the pod is gone, or another one has its name: the watch tells
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

function movesOf(pod: Pod, migrations: Cache<KubeObject>): readonly MigrationStatus[] {
  return [...migrations.list()]
    .map((object) => parseMigration(object)?.migration.status)
    .filter((status): status is MigrationStatus => status?.source?.uid === pod.metadata.uid);
}

function moveTo(pod: Pod, migrations: Cache<KubeObject>): MigrationStatus | undefined {
  const uid = pod.metadata.annotations?.[annotations.restore];
  const object = uid === undefined ? undefined : migrations.byUid(uid);
  return object === undefined ? undefined : parseMigration(object)?.migration.status;
}
