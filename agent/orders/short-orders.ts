import { markReady, clearReady } from '../launch/ready-mark.ts';
import { hold } from '../launch/channel.ts';
import { continueTree, killTree } from '../launch/process-tree.ts';
import { preflightReasons } from './preflight.ts';
import type { RunOrder } from './context.ts';

const channelDeadlineMs = 5_000;
const killDeadlineMs = 30_000;

/** PREFLIGHT: what of the application cannot be moved; changes nothing. */
export const preflight: RunOrder = async (_order, { journal }) => ({
  preflight: await preflightReasons(journal.appPid),
});

/** RESUME: continues the stopped tree; the rollback. A no-op when nothing is stopped. */
export const resume: RunOrder = async (_order, { journal }) => {
  continueTree(journal.stopped);
  return { journal: { role: 'serving', stopped: [] } };
};

/** RETIRE: ends the stopped tree while the container goes on; it is never started here again. */
export const retire: RunOrder = async (_order, { journal, placeholder, config }) => {
  if (journal.appPid !== undefined) {
    await hold(placeholder, true, channelDeadlineMs);
    await killTree(journal.appPid, killDeadlineMs);
  }
  await clearReady(config.original.container);
  return { journal: { role: 'moved', appPid: undefined, stopped: [] } };
};

/** CONTINUE: the commit is recorded; the restored tree runs. */
export const continueRestored: RunOrder = async (_order, { journal, placeholder, config }) => {
  continueTree(journal.stopped);
  await markReady(config.original.container, placeholder);
  return { journal: { role: 'serving', stopped: [] } };
};
