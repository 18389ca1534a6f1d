import { PodferryError, toPodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import { OrderKind, OrderStatus, type Order } from '../proto/gen/agent/v1/agent.ts';
import type { Collecting } from './collecting.ts';
import { connectToTarget, isLinkOver } from './direct/lifetime.ts';
import type { DirectLinks } from './direct/links.ts';
import type { Draining } from './draining.ts';
import type { Ledger } from './ledger.ts';
import { begin } from './orders/admit.ts';
import { checkpoint } from './orders/checkpoint.ts';
import type { OrderContext, RunOrder } from './orders/context.ts';
import { precopy } from './orders/precopy.ts';
import { restore } from './orders/restore.ts';
import { continueRestored, preflight, resume, retire } from './orders/short-orders.ts';
import { warm } from './orders/warm.ts';

const runners: Readonly<Partial<Record<OrderKind, RunOrder>>> = {
  [OrderKind.ORDER_KIND_PREFLIGHT]: preflight,
  [OrderKind.ORDER_KIND_CHECKPOINT]: checkpoint,
  [OrderKind.ORDER_KIND_RESUME]: resume,
  [OrderKind.ORDER_KIND_RETIRE]: retire,
  [OrderKind.ORDER_KIND_RESTORE]: restore,
  [OrderKind.ORDER_KIND_CONTINUE]: continueRestored,
  [OrderKind.ORDER_KIND_WARM]: warm,
  [OrderKind.ORDER_KIND_PRECOPY]: precopy,
};

export interface CarryOutDeps {
  readonly log: Log;
  readonly ledger: Ledger;
  readonly links: DirectLinks;
  readonly drains: Draining;
  readonly collecting: Collecting;
  /** @throws PodferryError PLACEHOLDER_MISSING when the container does not run */
  contextFor(log: Log, signal: AbortSignal, deadlineMs: number): OrderContext;
}

/** Runs one admitted order from its first word to its last. Rejects only when the journal cannot be written. */
export async function carryOut(order: Order, abort: AbortController, deps: CarryOutDeps): Promise<void> {
  const { ledger, links, drains } = deps;
  const { kind, migrationUid, attempt, timeoutMs } = order;
  const started = performance.now();
  const log = deps.log.child({ migration: migrationUid, attempt, order: OrderKind[kind] });
  // what the drain of a restore cost is told until the next move
  if (kind !== OrderKind.ORDER_KIND_CONTINUE) ledger.setTransfer(undefined);
  const isCheckpoint = kind === OrderKind.ORDER_KIND_CHECKPOINT;
  const timer = setTimeout(() => {
    abort.abort(new PodferryError('DEADLINE_EXCEEDED', `the order was not done within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    await ledger.change(begin(order, ledger.journal()));
    const runner = runners[kind];
    if (runner === undefined) throw new PodferryError('INTERNAL', `nobody carries out ${OrderKind[kind]}`);
    // before anything waits: an order for a container that does not run fails at once
    deps.contextFor(log, abort.signal, timeoutMs);
    await deps.collecting.breakOff();
    await drains.wait(kind, abort.signal);
    await connectToTarget(order, links, log);
    const result = await runner(order, deps.contextFor(log, abort.signal, timeoutMs));
    if (result.transfer !== undefined) ledger.setTransfer(result.transfer);
    if (result.preflight !== undefined) ledger.setPreflight(result.preflight);
    await ledger.endOrder(OrderStatus.ORDER_STATUS_DONE, undefined, result.journal);
    if (result.drain !== undefined) drains.follow(result.drain);
    if (kind === OrderKind.ORDER_KIND_CONTINUE) drains.fill();
    log.info('order done', { tookMs: Math.round(performance.now() - started) });
  } catch (thrown) {
    const error = toPodferryError(thrown, `carry out ${OrderKind[kind]}`);
    log.error('order failed', errorFields(error));
    await ledger.endOrder(OrderStatus.ORDER_STATUS_FAILED, error, isCheckpoint ? { role: 'serving' } : {});
  } finally {
    clearTimeout(timer);
    const { order: last, draining } = ledger.journal();
    if (isLinkOver(kind, last?.status ?? OrderStatus.ORDER_STATUS_UNSPECIFIED, draining)) links.close();
  }
}
