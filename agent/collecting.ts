import { PodferryError, toPodferryError } from '../proto/errors.ts';
import { OrderKind, OrderStatus, type Retention } from '../proto/gen/agent/v1/agent.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import type { Journal } from './journal.ts';
import type { OrderContext } from './orders/context.ts';
import { collectGarbage, storeTime } from './store/collect-garbage.ts';
import type { RetentionPolicy } from './store/retention.ts';
import { sealingOf } from './store/sealing.ts';

export const everyMs = 60 * 60_000;
/** A move that copies ahead, or waits for its target, gives no order for a while; what it has stored is named by nothing yet. */
export const quietMs = 15 * 60_000;
/** A pack waits for its manifest as long as a session lives (10 minutes) and a checkpoint takes. By the store's own clock: no clock of a node matters. */
export const graceMs = 60 * 60_000;
const deadlineMs = 10 * 60_000;

/** What was done before; times are of the clock given to createCollecting. */
export interface Past {
  readonly startedMs: number;
  /** The last order that began. */
  readonly orderedMs: number;
  /** The last of what has added a checkpoint after which garbage was collected. */
  readonly collectedAfter: string | undefined;
}

/**
 * What has added a checkpoint: the end of the move that brought the application here, or a checkpoint after which it went on. Undefined when
 * another order came last.
 */
export const additionOf = ({ order, role }: Journal): string | undefined => {
  const isAddition =
    order?.kind === OrderKind.ORDER_KIND_CONTINUE ||
    (order?.kind === OrderKind.ORDER_KIND_CHECKPOINT && role === 'serving');
  return isAddition ? `${order.migrationUid}/${order.attempt}` : undefined;
};

/** Whether garbage is to be collected now: once when a checkpoint was added, then every hour; only while the application runs here and nothing moves. */
export function isDue(journal: Journal, past: Past, nowMs: number): boolean {
  const { role, appPid, draining, order } = journal;
  if (role !== 'serving' || appPid === undefined || draining) return false;
  if (order?.status === OrderStatus.ORDER_STATUS_WORKING) return false;
  const addition = additionOf(journal);
  const isAdded = addition !== undefined && order?.status === OrderStatus.ORDER_STATUS_DONE;
  if (isAdded && addition !== past.collectedAfter) return true;
  const isQuiet = order === undefined || isAdded || nowMs - past.orderedMs >= quietMs;
  return isQuiet && nowMs - past.startedMs >= everyMs;
}

export function policyOf({ count, ttlSeconds, depth }: Retention): RetentionPolicy {
  return { count, ttlMs: ttlSeconds * 1_000, depth, graceMs };
}

export interface CollectingDeps {
  readonly log: Log;
  /** Milliseconds that only grow. */
  now(): number;
  journal(): Journal;
  home(): OrderContext['home'];
  /** Told which checkpoints the store holds now. */
  onStored(ids: readonly string[]): void;
}

/** Removes what the retention policy lets go of the instance; never in the way of an order. */
export interface Collecting {
  /** To be called often: begins when it is due. */
  look(): void;
  /** An order begins: resolves when nothing is under way any more. The next look may begin again. */
  breakOff(): Promise<void>;
  settled(): Promise<void>;
}

export function createCollecting(deps: CollectingDeps): Collecting {
  const { log } = deps;
  const bornMs = deps.now();
  let past: Past = { startedMs: bornMs, orderedMs: bornMs, collectedAfter: undefined };
  let underWay: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;

  const collect = async (
    { welcome, store }: NonNullable<OrderContext['home']>,
    retention: Retention,
    signal: AbortSignal,
  ): Promise<void> => {
    const { restoredFrom } = deps.journal();
    const { keyPrefix } = welcome;
    const { kept, checkpoints, packs, tooDeep } = await collectGarbage({
      store,
      keyPrefix,
      sealing: sealingOf(welcome),
      policy: policyOf(retention),
      nowMs: await storeTime(store, keyPrefix, signal),
      pinned: new Set(restoredFrom === undefined ? [] : [restoredFrom.id]),
      signal,
    });
    deps.onStored(kept.map(({ id }) => id));
    if (checkpoints.length + packs.length === 0) return;
    log.info('garbage collected', { checkpoints: checkpoints.length, packs: packs.length, tooDeep: tooDeep.length });
  };

  const run = async (
    home: NonNullable<OrderContext['home']>,
    retention: Retention,
    abort: AbortController,
  ): Promise<void> => {
    const timer = setTimeout(
      () => abort.abort(new PodferryError('DEADLINE_EXCEEDED', `garbage was not collected within ${deadlineMs} ms`)),
      deadlineMs,
    );
    try {
      await collect(home, retention, abort.signal);
    } catch (thrown) {
      const error = toPodferryError(thrown, 'collect garbage');
      if (error.code === 'CANCELLED') log.debug('garbage is collected later: an order came');
      else log.warn('garbage could not be collected; trying again in an hour', errorFields(error));
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    look() {
      const home = deps.home();
      const retention = home?.welcome.retention;
      const journal = deps.journal();
      const nowMs = deps.now();
      if (underWay !== undefined || home === undefined || retention === undefined) return;
      if (!isDue(journal, past, nowMs)) return;
      past = { ...past, startedMs: nowMs, collectedAfter: additionOf(journal) ?? past.collectedAfter };
      const abort = new AbortController();
      const done = run(home, retention, abort).finally(() => (underWay = undefined));
      underWay = { abort, done };
    },
    async breakOff() {
      past = { ...past, orderedMs: deps.now() };
      if (underWay === undefined) return;
      underWay.abort.abort(new PodferryError('CANCELLED', 'an order came'));
      // At once: every call of a store ends by its signal.
      await underWay.done;
    },
    async settled() {
      await underWay?.done;
    },
  };
}
