import { prepareTarget, startApplication } from './application.ts';
import type { FerryDeps } from './ferry.ts';
import { errorFields } from '../proto/logging.ts';
import type { Placeholder } from './launch/placeholder.ts';
import type { Ledger } from './ledger.ts';
import { afterRestart } from './roles.ts';

/**
 * One look at the container that runs: another placeholder than before means that it was (re)started. Starts the application when it is due.
 * A target's container is in the journal only when it is prepared: an agent that is restarted meanwhile prepares it anew.
 */
export async function lookAfter(
  placeholder: Placeholder,
  ledger: Ledger,
  deps: FerryDeps,
  isBusy: () => boolean,
): Promise<void> {
  const known = ledger.journal().placeholder;
  if (known?.pid !== placeholder.pid || known.startTime !== placeholder.startTime) {
    const next = afterRestart[ledger.journal().role];
    const gone = { appPid: undefined, stopped: [], draining: false, restoredFrom: undefined };
    if (next === 'waiting') {
      await ledger.change({ role: next, placeholder: undefined, ...gone });
      await prepareTarget(placeholder, deps).catch((error: unknown) => {
        deps.log.error('a fresh container is not prepared: it cannot be moved on', errorFields(error));
      });
      await ledger.change({ placeholder });
    } else await ledger.change({ role: next, placeholder, ...gone });
  }
  const { role, appPid } = ledger.journal();
  if (role !== 'serving' || appPid !== undefined || isBusy()) return;
  const started = await startApplication(placeholder, deps);
  await ledger.change({ appPid: started });
  deps.log.info('application started', { appPid: started });
}
