import type { CheckpointSpec, CheckpointStatus } from '../../proto/checkpoint.ts';
import type { Migration, TakenCheckpoint } from '../../proto/migration.ts';
import { withConditionIn } from '../kube/conditions.ts';

/** A Checkpoint that is to be made. */
export interface NewCheckpoint {
  readonly name: string;
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec: CheckpointSpec;
  /** Of one that is complete already. */
  readonly status?: CheckpointStatus;
}

/** The Checkpoint of what a move has stored, whatever came of the move; undefined when it stored nothing. Its name follows from the Migration. Pure. */
export function checkpointOfMove({ metadata, spec, status }: Migration): NewCheckpoint | undefined {
  const { checkpoint, source, instance, generation, workload } = status;
  const frozen = status.conditions?.find(({ type }) => type === 'Frozen');
  if (checkpoint === undefined || frozen?.status !== 'True') return undefined;
  const { name, namespace, uid } = metadata;
  const completedMs = Date.parse(frozen.lastTransitionTime);
  return {
    name: `${name.slice(0, 240)}-${uid.slice(0, 8)}`,
    namespace,
    spec: { podName: source?.pod ?? spec.podName, migrationName: name },
    status: {
      phase: 'Completed',
      ...(source && { source }),
      ...(workload && { workload }),
      ...(instance !== undefined && { instance }),
      // the Migration's is the target's
      ...(generation !== undefined && { generation: Math.max(0, generation - 1) }),
      ...storedFields(checkpoint),
      completedAt: frozen.lastTransitionTime,
      conditions: withConditionIn([], 'Completed', storedValue, 1, completedMs),
    },
  };
}

export const storedValue = {
  status: 'True',
  reason: 'Stored',
  message: 'everything it names is in storage',
} as const;

/** What is told of a checkpoint that is complete. */
export function storedFields(taken: TakenCheckpoint): Partial<CheckpointStatus> {
  const { id, manifestKey, manifestSha256, parent, pageBytes, storedBytes, totalBytes, freezeMs } = taken;
  return {
    id,
    manifestKey,
    manifestSha256,
    memoryBytes: pageBytes,
    newBytes: storedBytes,
    ...(parent !== undefined && { parent }),
    ...(totalBytes !== undefined && { totalBytes }),
    ...(freezeMs !== undefined && { stoppedMs: freezeMs }),
  };
}
