import type { MoveOptions } from '../../proto/gen/agent/v1/agent.ts';
import { modes, switches, type MigrationOptions, type MigrationSpec } from '../../proto/migration.ts';

/** What the agents of a move are told of how to do it. Pure. */
export function moveOptionsOf({ strategy, options = {} }: MigrationSpec): MoveOptions {
  return { strategy, freezeBudgetMs: 0, off: switchedOff(options), logUpload: options.logUpload ?? false };
}

/** Each switch that is off, by the mode or by itself, once. */
function switchedOff({ mode = 'full', off = [] }: MigrationOptions): string[] {
  const all = new Set<string>([...modes[mode], ...off]);
  return switches.filter((each) => all.has(each));
}
