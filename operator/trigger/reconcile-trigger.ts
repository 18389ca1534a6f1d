import { assertNever } from '../../proto/errors.ts';
import { annotations, apiVersion, fieldManager } from '../../proto/names.ts';
import type { Migration } from '../../proto/migration.ts';
import { migrationPath, patchPodMeta } from '../kube/apply.ts';
import type { KubeClient } from '../kube/client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../kube/errors.ts';
import type { Events } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { parseMigration } from '../migration/parse.ts';
import { refOf } from '../migration/world.ts';
import type { Policy } from '../policy/resolve.ts';
import { planTrigger, triggerAnnotations, type TriggerPlan } from './plan-trigger.ts';

export interface TriggerDeps {
  readonly client: KubeClient;
  readonly events: Events;
  readonly pods: Pick<Informer<Pod>, 'put'>;
  readonly migrations: Pick<Informer<KubeObject>, 'list' | 'put'>;
  /** @throws ApiError */
  readonly policyOf: (pod: Pod) => Promise<Policy>;
}

/** Makes a Migration for a pod that asks for one, then takes the request off the pod. @throws ApiError, for the queue's back-off */
export async function reconcileTrigger(pod: Pod, d: TriggerDeps): Promise<void> {
  if (pod.metadata.annotations?.[annotations.trigger] === undefined) return;
  const policy = await d.policyOf(pod);
  const next = planTrigger(pod, migrationsIn(pod.metadata.namespace, d), policy);
  switch (next.kind) {
    case 'nothing':
      return;
    case 'refuse':
      await d.events.tell(
        { kind: 'Pod', ...refOf(pod) },
        { type: 'Warning', reason: 'AnnotationInvalid', message: `ANNOTATION_INVALID: ${next.message}` },
      );
      return;
    case 'create':
      await create(pod, next, d);
      return clear(pod, d);
    case 'clear':
      return clear(pod, d);
    default:
      assertNever(next);
  }
}

async function create(pod: Pod, next: Extract<TriggerPlan, { kind: 'create' }>, d: TriggerDeps): Promise<void> {
  const namespace = pod.metadata.namespace ?? 'default';
  const { name, labels, spec } = next;
  try {
    const body = { apiVersion, kind: 'Migration', metadata: { name, namespace, labels }, spec };
    d.migrations.put(
      (await d.client.call({
        method: 'POST',
        path: migrationPath(namespace),
        query: { fieldManager },
        body,
      })) as KubeObject,
    );
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

async function clear(pod: Pod, d: TriggerDeps): Promise<void> {
  const cleared = Object.fromEntries(triggerAnnotations.map((name) => [name, null]));
  try {
    d.pods.put(await patchPodMeta(d.client, refOf(pod), { annotations: cleared }));
  } catch (error) {
    // the pod is gone, or another one has its name
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

function migrationsIn(namespace: string | undefined, d: TriggerDeps): readonly Migration[] {
  return [...d.migrations.list()]
    .filter((object) => object.metadata.namespace === namespace)
    .map((object) => parseMigration(object)?.migration)
    .filter((migration) => migration !== undefined);
}
