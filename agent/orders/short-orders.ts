import { PodferryError } from '../../proto/errors.ts';
import { paths } from '../../proto/names.ts';
import { markReady, clearReady } from '../launch/ready-mark.ts';
import { OrderKind, type Order } from '../../proto/gen/agent/v1/agent.ts';
import { hold } from '../launch/channel.ts';
import { continueTree, killTree } from '../launch/process-tree.ts';
import type { Journal } from '../journal.ts';
import { findingsIn } from '../preflight/checks.ts';
import { gatherFacts } from '../preflight/gather.ts';
import type { RunOrder } from './context.ts';

const channelDeadlineMs = 5_000;
const killDeadlineMs = 30_000;

/** PREFLIGHT: what of the application cannot be moved; changes nothing. */
export const preflight: RunOrder = async (_order, { journal, placeholder, facts }) => {
  const { appPid } = journal;
  if (appPid === undefined) throw new PodferryError('APP_NOT_RUNNING', 'the application does not run');
  const binary = paths.placeholderInImage;
  const gathered = await gatherFacts({ rootPid: appPid, containerPid: placeholder.pid, binary, criu: facts.criu });
  return { preflight: findingsIn(gathered) };
};

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

/**
 * After a restart of the agent in the middle of a lazy restore: the filler of its pages died with it, and whoever touches a missing page waits for ever.
 * Kills the tree and holds the container for its next restore.
 */
export async function killIncomplete({ appPid, placeholder }: Journal): Promise<void> {
  try {
    if (placeholder !== undefined) await hold(placeholder, true, channelDeadlineMs);
  } finally {
    if (appPid !== undefined) await killTree(appPid, killDeadlineMs);
  }
}

const fullRestoreMs = 600_000;

/** The order by which an application that lost pages is restored again. */
export function fullRestore({ order, restoredFrom }: Journal): Order {
  return {
    kind: OrderKind.ORDER_KIND_RESTORE,
    migrationUid: order?.migrationUid ?? '',
    attempt: order?.attempt ?? 0,
    timeoutMs: fullRestoreMs,
    checkpoint: restoredFrom,
    direct: undefined,
    options: { strategy: 'full', freezeBudgetMs: 0, off: [], logUpload: false },
  };
}

/** CONTINUE: the commit is recorded; the restored tree runs. */
export const continueRestored: RunOrder = async (_order, { journal, placeholder, config }) => {
  continueTree(journal.stopped);
  await markReady(config.original.container, placeholder);
  return { journal: { role: 'serving', stopped: [] } };
};
