import { PodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import { OrderKind, OrderStatus } from '../proto/gen/agent/v1/agent.ts';
import { undoDump } from './criu/undo.ts';
import { lostDrain, type Draining } from './draining.ts';
import type { Ledger } from './ledger.ts';
import { applicationTree, continueTree } from './launch/process-tree.ts';
import { dumpDir } from './orders/checkpoint.ts';
import { killIncomplete } from './orders/short-orders.ts';

/**
 * Puts right what a restart of the agent interrupted, as the journal tells. A checkpoint is rolled back: nothing can have been
 * committed on it. Its CRIU may have been killed together with the agent: what that has changed is undone. A tree with pages
 * missing is killed, and restored again in full by `drains`.
 */
export async function putRight(
  ledger: Ledger,
  drains: Pick<Draining, 'follow'>,
  workDir: string,
  log: Log,
): Promise<void> {
  if (ledger.journal().draining) {
    try {
      await killIncomplete(ledger.journal());
    } catch (error) {
      log.error('what the last agent left incomplete could not be killed', errorFields(error));
    }
    drains.follow(lostDrain(new PodferryError('AGENT_LOST', 'the agent was restarted before every page was in')));
  }
  const { order, appPid, draining, role } = ledger.journal();
  if (order?.status !== OrderStatus.ORDER_STATUS_WORKING) return;
  const isCheckpoint = order.kind === OrderKind.ORDER_KIND_CHECKPOINT;
  if (isCheckpoint && appPid !== undefined && !draining) {
    await undoDump(dumpDir(workDir)).catch((error: unknown) =>
      log.error('the application may not survive', errorFields(error)),
    );
    try {
      continueTree(applicationTree(appPid).processes);
    } catch (error) {
      log.warn('the application that was being checkpointed is gone', errorFields(error));
    }
  }
  const interrupted = new PodferryError('AGENT_LOST', 'the agent was restarted in the middle of the order');
  await ledger.endOrder(OrderStatus.ORDER_STATUS_FAILED, interrupted, { role: isCheckpoint ? 'serving' : role });
}
