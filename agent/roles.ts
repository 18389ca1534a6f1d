import { assertNever } from '../proto/errors.ts';
import { AppPhase } from '../proto/gen/agent/v1/agent.ts';
import type { Journal, Role } from './journal.ts';

/** What the operator is told of a role. */
export function phaseOf({ role, appPid }: Journal): AppPhase {
  switch (role) {
    case 'serving':
      return appPid === undefined ? AppPhase.APP_PHASE_WAITING : AppPhase.APP_PHASE_RUNNING;
    case 'waiting':
      return AppPhase.APP_PHASE_WAITING;
    case 'frozen':
      return AppPhase.APP_PHASE_FROZEN;
    case 'restored':
      return AppPhase.APP_PHASE_RESTORED;
    case 'moved':
      return AppPhase.APP_PHASE_MOVED;
    default:
      return assertNever(role);
  }
}

/** What a restarted container means in each role: its application is gone with it. */
export const afterRestart: Readonly<Record<Role, Role>> = {
  serving: 'serving',
  waiting: 'waiting',
  frozen: 'frozen', // RESUME then starts it afresh, as any restarted container; RETIRE has nothing left to kill
  restored: 'waiting',
  moved: 'moved',
};
