import { errorKinds, isErrorCode, type ErrorCode } from '../../proto/errors.ts';
import { changedConditionsOf, conditionIn, withConditionIn, type ConditionValue } from '../kube/conditions.ts';
import type { Condition, ConditionType, Migration, MigrationStatus } from '../../proto/migration.ts';

export function conditionOf(status: MigrationStatus, type: ConditionType): Condition | undefined {
  return conditionIn(status.conditions, type);
}

export function isTrue(status: MigrationStatus, type: ConditionType): boolean {
  return conditionOf(status, type)?.status === 'True';
}

/** The outcome is recorded: nothing is left to do but tidying up. */
export function isFinished(status: MigrationStatus): boolean {
  const outcome = conditionOf(status, 'Succeeded')?.status;
  return outcome === 'True' || outcome === 'False';
}

/** Neither failing nor finished, or committed: the Migration still owns its pods. */
export function isCommitted(status: MigrationStatus): boolean {
  return isTrue(status, 'Committed');
}

/** The status with one condition set; its time changes only when its value does. */
export function withCondition(
  migration: Migration,
  status: MigrationStatus,
  type: ConditionType,
  value: ConditionValue,
  nowMs: number,
): MigrationStatus {
  const before = status.conditions ?? [];
  const conditions = withConditionIn(before, type, value, migration.metadata.generation, nowMs);
  return conditions === before ? status : { ...status, conditions };
}

/** The conditions of `after` that say something else than in `before`. */
export function changedConditions(before: MigrationStatus, after: MigrationStatus): readonly Condition[] {
  return changedConditionsOf(before.conditions ?? [], after.conditions ?? []);
}

/** `TARGET_LOST` -> `TargetLost`. */
export function reasonOf(code: ErrorCode): string {
  return code
    .toLowerCase()
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}

/** A code as an agent sent it; one that this version does not know becomes INTERNAL. */
export function codeOf(text: string | undefined): ErrorCode {
  return text !== undefined && isErrorCode(text) ? text : 'INTERNAL';
}

/** The message with what a person does next, unless it says so already. */
export function withHint(code: ErrorCode, message: string): string {
  const { hint } = errorKinds[code];
  return message.includes(hint) ? message : `${message} (${hint})`;
}
