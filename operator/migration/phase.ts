import type { MigrationStatus, Phase } from '../../proto/migration.ts';
import { conditionOf, isTrue } from './conditions.ts';

/** One word for `kubectl get`, derived from the conditions. */
export function phaseOf(status: MigrationStatus): Phase {
  const outcome = conditionOf(status, 'Succeeded')?.status;
  if (outcome === 'True') return 'Succeeded';
  if (outcome === 'False') return 'Failed';
  if (status.failure !== undefined && !isTrue(status, 'Committed')) return 'RollingBack';
  if (isTrue(status, 'CutOver')) return 'Draining';
  if (isTrue(status, 'Verified')) return 'CuttingOver';
  if (isTrue(status, 'Committed')) return 'Committed';
  if (isTrue(status, 'Frozen')) return 'Restoring';
  if (isTrue(status, 'PreCopied')) return 'Freezing';
  if (isTrue(status, 'TargetPrepared')) return 'PreCopying';
  if (isTrue(status, 'Accepted')) return 'Preparing';
  return 'Pending';
}
