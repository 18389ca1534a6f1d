import { z } from 'zod';
import { MigrationSpec, strategies } from './migration.ts';

/** `1h30m`, `90s`. Its bounds are checked by `durationMs`: a schema cannot say them. */
const durationForm = /^(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$/;

/** More often than this a process would do little else. */
export const minIntervalMs = 5_000;
const maxIntervalMs = 30 * 24 * 3_600_000;

/**
 * An interval in milliseconds; 0 (`0s`) means never.
 * @returns undefined when the text is none, or is not between 5 s and 30 days
 */
export function intervalMsOf(text: string): number | undefined {
  const parts = text === '' ? null : durationForm.exec(text);
  if (parts === null) return undefined;
  const [hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0));
  const ms = (((hours ?? 0) * 60 + (minutes ?? 0)) * 60 + (seconds ?? 0)) * 1_000;
  return ms === 0 || (ms >= minIntervalMs && ms <= maxIntervalMs) ? ms : undefined;
}

/** When checkpoints of a running process are taken. */
export const CheckpointPolicy = z.object({
  interval: z
    .string()
    .min(2)
    .max(32)
    .regex(/^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$/)
    .optional()
    .describe('A checkpoint of each pod is taken this often, such as 30s or 1h30m: 5s to 30 days; 0s: never.'),
});
export type CheckpointPolicy = z.infer<typeof CheckpointPolicy>;

/** How the pods are moved when their trigger annotation asks for it. */
export const MigrationPolicy = z.object({
  strategy: z.enum(strategies).optional().describe('Of the Migrations made for the trigger annotation.'),
  migrationTimeoutSeconds: z
    .int()
    .min(5)
    .max(86_400)
    .optional()
    .describe('Of the Migrations made for the trigger annotation: up to the commit.'),
});
export type MigrationPolicy = z.infer<typeof MigrationPolicy>;

const migrationDefaults = MigrationSpec.parse({ podName: 'any' });

/** What holds where nobody says anything. */
export const builtInPolicy = {
  intervalMs: 0,
  strategy: migrationDefaults.strategy,
  migrationTimeoutSeconds: migrationDefaults.timeoutSeconds,
} as const;
