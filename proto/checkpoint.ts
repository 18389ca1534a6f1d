import { z } from 'zod';
import { isErrorCode } from './errors.ts';
import { conditionOf, PodPlace, Workload, type ObjectMeta } from './migration.ts';

/** The custom resource `Checkpoint`: a point that a process can be restored from. Made by the operator, or by a user who wants one now. */
export const CheckpointSpec = z.object({
  podName: z.string().min(1).max(253).describe('Pod of which it is taken; in the namespace of the Checkpoint.'),
  migrationName: z
    .string()
    .max(253)
    .optional()
    .describe(
      'Written by the operator: the Migration that has taken it. Without it, it is taken now, and the process goes on.',
    ),
});
export type CheckpointSpec = z.infer<typeof CheckpointSpec>;

/** In the order in which they become true; `Completed` is the outcome (False = failed). */
export const checkpointConditionTypes = ['Started', 'PreCopied', 'Completed'] as const;
export type CheckpointConditionType = (typeof checkpointConditionTypes)[number];

/** Derived from the conditions for `kubectl get`; nothing reads it back. */
export const checkpointPhases = ['Pending', 'Running', 'Completed', 'Failed'] as const;
export type CheckpointPhase = (typeof checkpointPhases)[number];

export const CheckpointCondition = conditionOf(checkpointConditionTypes);
export type CheckpointCondition = z.infer<typeof CheckpointCondition>;

export const CheckpointStatus = z.object({
  phase: z.enum(checkpointPhases).optional(),
  source: PodPlace.optional().describe('Where the process ran.'),
  workload: Workload.optional(),
  instance: z.string().optional().describe('Lineage of the pod; stays the same through every move.'),
  generation: z.int().min(0).optional().describe('Of the pod: how many moves its instance had made.'),
  id: z.string().optional().describe('Of the checkpoint in storage.'),
  manifestKey: z.string().optional(),
  manifestSha256: z.string().length(64).optional(),
  parent: z.string().optional().describe('Id of the checkpoint whose pages it goes on using.'),
  memoryBytes: z.int().min(0).optional().describe('Of the process, pages of zeroes included.'),
  totalBytes: z.int().min(0).optional().describe('In storage, with what it shares with earlier checkpoints.'),
  newBytes: z.int().min(0).optional().describe('Of these: added by this checkpoint.'),
  stoppedMs: z.int().min(0).optional().describe("How long the process was stopped, on its node's clock."),
  startedAt: z.iso.datetime().optional(),
  completedAt: z.iso.datetime().optional(),
  expiresAt: z.iso
    .datetime()
    .optional()
    .describe('Removed then, or before by newer ones; the newest of an instance that runs stays.'),
  failure: z.object({ code: z.string().refine(isErrorCode), message: z.string() }).optional(),
  conditions: z.array(CheckpointCondition).optional(),
});
export type CheckpointStatus = z.infer<typeof CheckpointStatus>;

export interface Checkpoint {
  readonly metadata: ObjectMeta;
  readonly spec: CheckpointSpec;
  readonly status: CheckpointStatus;
}
