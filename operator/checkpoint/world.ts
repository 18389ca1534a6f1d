import type { Checkpoint, CheckpointStatus } from '../../proto/checkpoint.ts';
import type { Workload } from '../../proto/migration.ts';
import type { CheckpointPlace } from '../../proto/store-layout.ts';
import { OrderStatus, type AgentState, type Order } from '../../proto/gen/agent/v1/agent.ts';
import type { AgentView } from '../hub/agents.ts';
import { conditionIn } from '../kube/conditions.ts';
import type { Pod } from '../kube/objects.ts';

/** Everything that a plan for one Checkpoint may know: read at one moment, from caches and from the agents' last words. */
export interface World {
  readonly checkpoint: Checkpoint;
  /** Why the Checkpoint cannot be read. */
  readonly invalid: string | undefined;
  /** By its recorded uid once there is one, before that by name. */
  readonly pod: Pod | undefined;
  readonly agent: AgentView | undefined;
  readonly workload: Workload | undefined;
  /** Name of an unfinished Migration that moves, or made, the pod. */
  readonly migration: string | undefined;
  /** No other Checkpoint of the node is under way, or comes first. */
  readonly hasTurn: boolean;
  /** An unfinished Migration of the instance may still read it. */
  readonly isInUse: boolean;
  /** A pod of the instance serves. */
  readonly isServed: boolean;
  /** Storage holds it, by the word of the agent that serves its instance; undefined when that has not said. */
  readonly isStored: boolean | undefined;
  /** An interval has brought it, and a later one of the same instance, and that has ended. */
  readonly isSuperseded: boolean;
  /** What is in storage can be released. */
  readonly canRelease: boolean;
  /** How long checkpoints are kept. */
  readonly ttlSeconds: number;
}

/** What a plan asks for. Each one is idempotent. */
export type Action =
  | { readonly kind: 'AddFinalizer' }
  | { readonly kind: 'RemoveFinalizer' }
  | { readonly kind: 'Delete' }
  | { readonly kind: 'Release'; readonly place: CheckpointPlace }
  | { readonly kind: 'SendOrder'; readonly podUid: string; readonly order: Order };

export interface Plan {
  readonly actions: readonly Action[];
  readonly status: CheckpointStatus;
  /** Look again after this time even when nothing happens. */
  readonly wakeAfterMs?: number;
}

/** A Checkpoint is tried once. */
export const attempt = 1;

/** The id of a checkpoint that is taken without a move. */
export function checkpointIdOf({ metadata, status }: Checkpoint): string {
  return `g${status.generation ?? 0}-${metadata.uid.slice(0, 8)}`;
}

/** The agent's last word, when it is about this Checkpoint. */
export function wordOn({ checkpoint, agent }: World): AgentState | undefined {
  const state = agent?.state;
  const isOurs = state?.migrationUid === checkpoint.metadata.uid && state.attempt === attempt;
  return agent?.isConnected === true && isOurs ? state : undefined;
}

export function isWorking(word: AgentState | undefined): boolean {
  return word?.status === OrderStatus.ORDER_STATUS_WORKING;
}

export function isOver({ conditions }: CheckpointStatus): boolean {
  const outcome = conditionIn(conditions, 'Completed')?.status;
  return outcome !== undefined && outcome !== 'Unknown';
}

export function hasStarted({ conditions }: CheckpointStatus): boolean {
  return conditionIn(conditions, 'Started')?.status === 'True';
}

export function isComplete({ conditions }: CheckpointStatus): boolean {
  return conditionIn(conditions, 'Completed')?.status === 'True';
}
