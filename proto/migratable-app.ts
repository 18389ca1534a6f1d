import { z } from 'zod';
import { conditionOf, type ObjectMeta } from './migration.ts';
import { CheckpointPolicy, MigrationPolicy } from './policy.ts';

/** The pod template of a Deployment: checked by the API server when the Deployment is made of it. */
const PodTemplate = z.looseObject({
  metadata: z
    .looseObject({
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  spec: z.looseObject({}),
});
export type PodTemplate = z.infer<typeof PodTemplate>;

/** The custom resource `MigratableApp`: the policy of a workload. */
export const MigratableAppSpec = z.object({
  template: PodTemplate.optional().describe(
    'Pod template: the operator runs a Deployment of it, with the name of the MigratableApp. Either this or targetRef.',
  ),
  replicas: z
    .int()
    .min(0)
    .optional()
    .describe('Of the Deployment made of the template. Without it: who scales it decides.'),
  targetRef: z
    .object({ kind: z.enum(['Deployment']), name: z.string().min(1).max(253) })
    .optional()
    .describe('A workload of the same namespace that has opted in by migration.io/enabled.'),
  checkpointPolicy: CheckpointPolicy.optional(),
  migrationPolicy: MigrationPolicy.optional(),
});
export type MigratableAppSpec = z.infer<typeof MigratableAppSpec>;

/** For the API server: what the types alone do not say. */
export const eitherTemplateOrTarget = [
  { required: ['template'] },
  { required: ['targetRef'], not: { required: ['replicas'] } },
] as const;

/** `PolicyValid`: the settings mean something. `WorkloadReady`: the workload is there, and its pods have agents. */
export const appConditionTypes = ['PolicyValid', 'WorkloadReady'] as const;
export type AppConditionType = (typeof appConditionTypes)[number];

export const AppCondition = conditionOf(appConditionTypes);
export type AppCondition = z.infer<typeof AppCondition>;

/** How many moves are remembered. */
export const maxHistory = 10;

export const HistoryEntry = z.object({
  name: z.string().describe('Of the Migration; it may be gone by now.'),
  pod: z.string(),
  from: z.string().optional().describe('Node.'),
  to: z.string().optional().describe('Node.'),
  downtimeMs: z.int().min(0).optional(),
  completedAt: z.iso.datetime(),
  outcome: z.enum(['Succeeded', 'Failed']),
  reason: z.string().optional().describe('Why it was asked for.'),
  failure: z.string().optional().describe('Error code of one that failed.'),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

export const AppCheckpointStatus = z.object({
  lastCheckpointTime: z.iso.datetime().optional(),
  lastCheckpointName: z.string().optional(),
  count: z.int().min(0).describe('Checkpoints of its pods that can be restored.'),
  totalBytes: z.int().min(0).describe('What they have added to storage.'),
});
export type AppCheckpointStatus = z.infer<typeof AppCheckpointStatus>;

export const MigratableAppStatus = z.object({
  observedGeneration: z.int().optional(),
  checkpointStatus: AppCheckpointStatus.optional(),
  migrationHistory: z
    .array(HistoryEntry)
    .max(maxHistory)
    .optional()
    .describe('Finished moves of its pods, newest first.'),
  conditions: z.array(AppCondition).optional(),
});
export type MigratableAppStatus = z.infer<typeof MigratableAppStatus>;

export interface MigratableApp {
  readonly metadata: ObjectMeta;
  readonly spec: MigratableAppSpec;
  readonly status: MigratableAppStatus;
}
