import type { ErrorCode } from '../../proto/errors.ts';
import type { Timing } from '../../proto/gen/agent/v1/agent.ts';
import type { ConditionType, MigrationStatus } from '../../proto/migration.ts';
import type { Action, World } from './world.ts';

interface Told {
  /** PascalCase. */
  readonly reason: string;
  readonly message: string;
  /** Fields of the status to record, whatever comes next. */
  readonly patch?: Partial<MigrationStatus>;
}

export interface Done extends Told {
  readonly kind: 'done';
  /** Nothing that follows may happen before this is stored. */
  readonly isBarrier?: boolean;
  /** What the agent did inside the step. */
  readonly timings?: readonly Timing[];
}

export interface Wait extends Told {
  readonly kind: 'wait';
  readonly actions: readonly Action[];
  /** Why the move fails when this goes on until the deadline. */
  readonly lateCode: ErrorCode;
  readonly wakeAfterMs?: number;
}

export interface Fail {
  readonly kind: 'fail';
  readonly code: ErrorCode;
  readonly message: string;
}

export type StepResult = Done | Wait | Fail;

/** One step of a move: pure, and asked again and again until it is done. */
export interface Step {
  readonly type: Exclude<ConditionType, 'Succeeded'>;
  readonly run: (world: World, nowMs: number) => StepResult;
}

export function done(reason: string, message: string, more: Omit<Done, 'kind' | 'reason' | 'message'> = {}): Done {
  return { kind: 'done', reason, message, ...more };
}

export function wait(
  lateCode: ErrorCode,
  reason: string,
  message: string,
  more: Partial<Omit<Wait, 'kind' | 'reason' | 'message' | 'lateCode'>> = {},
): Wait {
  return { kind: 'wait', lateCode, reason, message, actions: [], ...more };
}

export function fail(code: ErrorCode, message: string): Fail {
  return { kind: 'fail', code, message };
}
