import {
  maxHistory,
  type AppCheckpointStatus,
  type HistoryEntry,
  type MigratableApp,
  type MigratableAppStatus,
} from '../../proto/migratable-app.ts';
import type { Checkpoint } from '../../proto/checkpoint.ts';
import type { Migration } from '../../proto/migration.ts';
import { isComplete } from '../checkpoint/world.ts';
import { withConditionIn, type ConditionValue } from '../kube/conditions.ts';
import { isFinished, isTrue } from '../migration/conditions.ts';

export interface AppWorld {
  readonly app: MigratableApp;
  /** What is wrong with its policy. */
  readonly problems: readonly string[];
  readonly workload: ConditionValue;
  /** Of its workload. */
  readonly checkpoints: readonly Checkpoint[];
  readonly migrations: readonly Migration[];
}

/** What is told of a MigratableApp. The history alone is remembered: Migrations may be gone by now. Pure. */
export function statusOf(
  { app, problems, workload, checkpoints, migrations }: AppWorld,
  nowMs: number,
): MigratableAppStatus {
  const { generation } = app.metadata;
  const policy: ConditionValue =
    problems.length === 0
      ? { status: 'True', reason: 'Valid', message: 'every setting means something' }
      : { status: 'False', reason: 'PolicyInvalid', message: problems.join('; ') };
  const before = app.status.conditions ?? [];
  const withPolicy = withConditionIn(before, 'PolicyValid', policy, generation, nowMs);
  return {
    observedGeneration: generation,
    checkpointStatus: checkpointStatusOf(checkpoints),
    migrationHistory: historyOf(app.status.migrationHistory ?? [], migrations),
    conditions: withConditionIn(withPolicy, 'WorkloadReady', workload, generation, nowMs),
  };
}

function checkpointStatusOf(all: readonly Checkpoint[]): AppCheckpointStatus {
  const complete = all.filter(({ status, metadata }) => isComplete(status) && metadata.deletionTimestamp === undefined);
  const last = complete.toSorted((a, b) => timeOf(b) - timeOf(a))[0];
  return {
    ...(last?.status.completedAt !== undefined && {
      lastCheckpointTime: last.status.completedAt,
      lastCheckpointName: last.metadata.name,
    }),
    count: complete.length,
    totalBytes: complete.reduce((sum, { status }) => sum + (status.newBytes ?? 0), 0),
  };
}

function timeOf({ status, metadata }: Checkpoint): number {
  return Date.parse(status.completedAt ?? metadata.creationTimestamp);
}

/** Finished moves, newest first: those known before, and those that have ended since. */
function historyOf(known: readonly HistoryEntry[], migrations: readonly Migration[]): HistoryEntry[] {
  const ended = migrations.flatMap((migration) => entryOf(migration) ?? []);
  const isNew = (entry: HistoryEntry): boolean =>
    !known.some(({ name, completedAt }) => name === entry.name && completedAt === entry.completedAt);
  return [...ended.filter(isNew), ...known]
    .toSorted((a, b) => Date.parse(b.completedAt) - Date.parse(a.completedAt))
    .slice(0, maxHistory);
}

function entryOf({ metadata, spec, status }: Migration): HistoryEntry | undefined {
  if (!isFinished(status) || status.completedAt === undefined) return undefined;
  const { source, target, downtimeMs, failure } = status;
  return {
    name: metadata.name,
    pod: source?.pod ?? spec.podName,
    ...(source && { from: source.node }),
    ...(target?.node !== undefined && { to: target.node }),
    ...(downtimeMs !== undefined && { downtimeMs }),
    completedAt: status.completedAt,
    outcome: isTrue(status, 'Succeeded') ? 'Succeeded' : 'Failed',
    ...(spec.reason !== undefined && { reason: spec.reason }),
    ...(failure && { failure: failure.code }),
  };
}
