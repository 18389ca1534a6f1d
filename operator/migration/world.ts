import { annotations, containers } from '../../proto/names.ts';
import { Original } from '../../proto/injection.ts';
import type { AgentState, Order, OrderKind } from '../../proto/gen/agent/v1/agent.ts';
import type { Migration, MigrationStatus } from '../../proto/migration.ts';
import type { AgentView } from '../hub/agents.ts';
import type { NewCheckpoint } from '../checkpoint/of-move.ts';
import type { NewPod, PersistentVolumeClaim, Pod, ReplicaSet } from '../kube/objects.ts';
import type { NamedNode } from './node-fit.ts';

/** Everything that a plan may know: read at one moment, from caches and from the agents' last words. */
export interface World {
  readonly migration: Migration;
  /** Why the Migration cannot be read. */
  readonly invalid: string | undefined;
  /** By its recorded uid once there is one, before that by name. */
  readonly source: Pod | undefined;
  readonly sourceAgent: AgentView | undefined;
  readonly sourceNodeIsReady: boolean;
  /** The ReplicaSet that controls (or, once recorded, controlled) the source. */
  readonly replicaSet: ReplicaSet | undefined;
  /** That ReplicaSet belongs to a Deployment. */
  readonly isOfDeployment: boolean;
  /** The pod that carries this Migration's uid in its restore annotation. */
  readonly target: Pod | undefined;
  readonly targetAgent: AgentView | undefined;
  readonly targetNodeIsReady: boolean;
  /** The node that the Migration names, until it is accepted. */
  readonly namedNode: NamedNode | undefined;
  /** Of the source's volumes, by the claim's name. */
  readonly claims: ReadonlyMap<string, PersistentVolumeClaim>;
  /** Name of an unfinished Migration that came first and moves (or made) the same pod. */
  readonly otherMigration: string | undefined;
  /** Of this attempt: with it its two agents prove themselves to each other. */
  readonly secret: Buffer;
  /** Since when agents can connect to this operator. */
  readonly hubSinceMs: number;
}

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What a plan asks for. Each one is idempotent: asked twice, the second time changes nothing. */
export type Action =
  | { readonly kind: 'AddFinalizer' }
  | { readonly kind: 'RemoveFinalizer' }
  | { readonly kind: 'DeleteMigration' }
  /** Makes the Checkpoint of what the move has stored. */
  | { readonly kind: 'RecordCheckpoint'; readonly taken: NewCheckpoint }
  | { readonly kind: 'CreateTargetPod'; readonly pod: NewPod }
  /** Without `graceSeconds` the pod's own grace period; 0 removes it even when its node does not answer. */
  | { readonly kind: 'DeletePod'; readonly pod: PodRef; readonly graceSeconds?: number }
  /** Lets the ReplicaSet prefer the source when it removes a pod (servers >= 1.21). */
  | { readonly kind: 'PreferDeletion'; readonly pod: PodRef }
  /** Makes the kubelet look at the pod now: one of 1.20 calls a container that has started ready only at its next look, within 10 s. */
  | { readonly kind: 'WakeKubelet'; readonly pod: PodRef }
  /** Brings the target into the ReplicaSet's selector. */
  | { readonly kind: 'LabelTarget'; readonly pod: PodRef; readonly podTemplateHash: string }
  | { readonly kind: 'SendOrder'; readonly podUid: string; readonly order: Order };

export interface Plan {
  readonly actions: readonly Action[];
  readonly status: MigrationStatus;
  /** Look again after this time even when nothing happens; undefined: only when something does. */
  readonly wakeAfterMs?: number;
}

export function refOf(pod: Pod): PodRef {
  return { namespace: pod.metadata.namespace ?? 'default', name: pod.metadata.name, uid: pod.metadata.uid };
}

export function isInjected(pod: Pod): boolean {
  const everywhere = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  return (
    pod.metadata.annotations?.[annotations.injected] !== undefined &&
    everywhere.some((container) => container.name === containers.agent)
  );
}

/** The container that moves, from the annotation the webhook wrote; undefined when it cannot be read. */
export function chosenContainer(pod: Pod): string | undefined {
  const text = pod.metadata.annotations?.[annotations.original];
  if (text === undefined) return undefined;
  try {
    const parsed = Original.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data.container : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export const attempt = 1;

/** The deadlines of orders that are quick or must not be given up lightly. */
const orderTimeoutMs = 60_000;

export function sendOrder(
  world: World,
  podUid: string,
  kind: OrderKind,
  extra: Partial<Pick<Order, 'timeoutMs' | 'checkpoint' | 'direct' | 'options'>> = {},
): Action {
  return {
    kind: 'SendOrder',
    podUid,
    order: {
      kind,
      migrationUid: world.migration.metadata.uid,
      attempt: world.migration.status.attempt ?? attempt,
      timeoutMs: Math.max(1, Math.round(extra.timeoutMs ?? orderTimeoutMs)),
      checkpoint: extra.checkpoint,
      direct: extra.direct,
      options: extra.options,
    },
  };
}

/** The agent's word on an order of this Migration; undefined when its last word is about something else. */
export function wordOn(world: World, view: AgentView | undefined, kind: OrderKind): AgentState | undefined {
  const state = view?.state;
  if (view?.isConnected !== true || state === undefined) return undefined;
  const isOurs =
    state.migrationUid === world.migration.metadata.uid &&
    state.attempt === (world.migration.status.attempt ?? attempt) &&
    state.order === kind;
  return isOurs ? state : undefined;
}

/** When the time up to the commit is over. */
export function deadlineMs(world: World, nowMs: number): number {
  const { startedAt } = world.migration.status;
  const startedMs = startedAt === undefined ? nowMs : Date.parse(startedAt);
  return startedMs + world.migration.spec.timeoutSeconds * 1_000;
}
