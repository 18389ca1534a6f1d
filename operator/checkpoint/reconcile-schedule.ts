import type { Checkpoint } from '../../proto/checkpoint.ts';
import type { Clock } from '../clock.ts';
import { isRunning, type Agents } from '../hub/agents.ts';
import { instanceOf } from '../hub/welcome.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Events } from '../kube/events.ts';
import type { Cache, Informer } from '../kube/informer.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { isInjected, refOf } from '../migration/world.ts';
import type { Policy } from '../policy/resolve.ts';
import { createCheckpoint } from './create.ts';
import { migrationOf } from './observe.ts';
import { parseCheckpoint } from './parse.ts';
import { planSchedule } from './schedule.ts';

export interface ScheduleDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly events: Events;
  readonly agents: Pick<Agents, 'view'>;
  readonly migrations: Cache<KubeObject>;
  readonly checkpoints: Pick<Informer<KubeObject>, 'list' | 'put'>;
  /** @throws ApiError */
  readonly policyOf: (pod: Pod) => Promise<Policy>;
}

/** Makes a Checkpoint of a pod when one is due. @returns when to look again @throws ApiError, for the queue's back-off */
export async function reconcileSchedule(pod: Pod, d: ScheduleDeps): Promise<{ readonly requeueAfterMs?: number }> {
  if (!isInjected(pod)) return {};
  const { intervalMs } = await d.policyOf(pod);
  const input = {
    pod,
    intervalMs,
    isRunning: isRunning(d.agents.view(pod.metadata.uid)),
    isMoving: migrationOf(pod, d.migrations) !== undefined,
    existing: checkpointsOf(pod, d),
  };
  const next = planSchedule(input, d.clock.now());
  if (next.invalid !== undefined) {
    const message = `POLICY_INVALID: no checkpoints are taken: ${next.invalid}`;
    await d.events.tell({ kind: 'Pod', ...refOf(pod) }, { type: 'Warning', reason: 'PolicyInvalid', message });
  }
  if (next.create !== undefined) d.checkpoints.put(await createCheckpoint(next.create, d.client));
  return { requeueAfterMs: next.wakeAfterMs };
}

/** Of its instance, and those that are yet to be taken of it. */
function checkpointsOf(pod: Pod, d: ScheduleDeps): readonly Checkpoint[] {
  const { namespace, name } = pod.metadata;
  return [...d.checkpoints.list()].flatMap((object) => {
    const checkpoint = object.metadata.namespace === namespace ? parseCheckpoint(object)?.checkpoint : undefined;
    if (checkpoint === undefined) return [];
    const { spec, status } = checkpoint;
    const isIts = status.instance === undefined ? spec.podName === name : status.instance === instanceOf(pod);
    return isIts ? [checkpoint] : [];
  });
}
