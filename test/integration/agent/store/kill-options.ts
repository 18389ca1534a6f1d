import type { CriuRun } from '../../../../agent/criu/command.ts';
import type { RetentionPolicy } from '../../../../agent/store/retention.ts';

/** In place of the arguments of CRIU. */
export const argumentsHere = '@';

/** What kill-child.ts is given, as JSON. */
export interface KillChildOptions {
  /** Its arguments come in place of `argumentsHere`. */
  readonly criu: CriuRun;
  readonly root: string;
  readonly keyPrefix: string;
  readonly instance: string;
  readonly keyId: string;
  /** Hex. */
  readonly dataKey: string;
  readonly pids: readonly number[];
  readonly stdioPid: number;
  readonly workDir: string;
  readonly policy: RetentionPolicy;
  /** How much older everything is for the garbage collection. */
  readonly olderMs: number;
  readonly ids: readonly string[];
}
