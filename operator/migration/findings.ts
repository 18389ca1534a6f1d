import type { ErrorCode } from '../../proto/errors.ts';
import type { AgentState } from '../../proto/gen/agent/v1/agent.ts';
import { codeOf, withHint } from './conditions.ts';
import { fail, type Fail } from './step.ts';

/** One reason why a pod cannot be moved. */
export interface Finding {
  readonly code: ErrorCode;
  /** What exactly is in the way. */
  readonly message: string;
}

/** What the agent of the source found; one of an older version gives codes only. */
export function findingsOf({ findings, preflight }: AgentState): readonly Finding[] {
  const told = findings.length > 0 ? findings : preflight.map((code) => ({ code, message: `the agent found ${code}` }));
  return told.map(({ code, message }) => ({ code: codeOf(code), message }));
}

/** Fails with the code of the first one and the words of all; undefined when there is none. */
export function failOf(findings: readonly Finding[]): Fail | undefined {
  const [first, ...others] = findings;
  if (first === undefined) return undefined;
  if (others.length === 0) return fail(first.code, first.message);
  const all = findings.map(({ code, message }) => `${code}: ${withHint(code, message)}`);
  return fail(first.code, `${findings.length} reasons: ${all.join('; ')}`);
}
