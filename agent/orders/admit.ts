import { OrderKind, OrderStatus, type Order } from '../../proto/gen/agent/v1/agent.ts';
import type { Journal, Role } from '../journal.ts';

/** What to do with an order: `run` it, `repeat` the present state (it is known already), or `refuse` it as stale or out of place. */
export type Admission =
  { readonly verdict: 'run' } | { readonly verdict: 'repeat' } | { readonly verdict: 'refuse'; readonly why: string };

const run: Admission = { verdict: 'run' };
const repeat: Admission = { verdict: 'repeat' };
const refuse = (why: string): Admission => ({ verdict: 'refuse', why });

/** The roles in which each order makes sense. */
const roles: Partial<Record<OrderKind, readonly Role[]>> = {
  [OrderKind.ORDER_KIND_PREFLIGHT]: ['serving'],
  [OrderKind.ORDER_KIND_PRECOPY]: ['serving'],
  [OrderKind.ORDER_KIND_CHECKPOINT]: ['serving'],
  [OrderKind.ORDER_KIND_RESUME]: ['serving', 'frozen'],
  [OrderKind.ORDER_KIND_RETIRE]: ['frozen'],
  [OrderKind.ORDER_KIND_WARM]: ['waiting'],
  [OrderKind.ORDER_KIND_RESTORE]: ['waiting'],
  [OrderKind.ORDER_KIND_CONTINUE]: ['restored'],
};

/** Orders that only the migration which stopped or restored the tree may give. */
const bound: ReadonlySet<OrderKind> = new Set([OrderKind.ORDER_KIND_RETIRE, OrderKind.ORDER_KIND_CONTINUE]);

/** Orders that end a move: harmless to run again, and needed until one works. */
const retried: ReadonlySet<OrderKind> = new Set([
  OrderKind.ORDER_KIND_RESUME,
  OrderKind.ORDER_KIND_RETIRE,
  OrderKind.ORDER_KIND_CONTINUE,
]);

/** A restored tree that is gone, or never came to be, may be restored once more. */
function isRestoredAgain(last: NonNullable<Journal['order']>, role: Role): boolean {
  const isOver = last.status === OrderStatus.ORDER_STATUS_FAILED || last.status === OrderStatus.ORDER_STATUS_DONE;
  return last.kind === OrderKind.ORDER_KIND_RESTORE && role === 'waiting' && isOver;
}

/** Rolled back attempts that are remembered: more than can have an order on its way. */
const maxRemembered = 16;

function attemptOf({ migrationUid, attempt }: Order): string {
  return `${migrationUid}/${attempt}`;
}

/**
 * What the journal says from the moment an order is begun. Pure. RESUME ends its attempt: nobody may continue what an order
 * to stop that arrives after it would stop.
 */
export function begin(order: Order, { rolledBack = [] }: Journal): Partial<Journal> {
  const { kind, migrationUid, attempt } = order;
  const begun = { order: { kind, migrationUid, attempt, status: OrderStatus.ORDER_STATUS_WORKING } };
  if (kind === OrderKind.ORDER_KIND_CHECKPOINT) return { ...begun, role: 'frozen' };
  if (kind !== OrderKind.ORDER_KIND_RESUME) return begun;
  const others = rolledBack.filter((each) => each !== attemptOf(order));
  return { ...begun, rolledBack: [...others, attemptOf(order)].slice(-maxRemembered) };
}

/**
 * Decides on an order from the operator. Pure. An order is known by (migration, attempt, kind); of one migration an older
 * attempt, or one that was rolled back, is stale; while a tree is stopped only its own migration may give orders; a target obeys only the migration it waits for.
 * @param restoreFor uid of the migration that this pod is the target of
 */
export function admit(order: Order, journal: Journal, restoreFor: string | undefined): Admission {
  const last = journal.order;
  const isSameMigration = last?.migrationUid === order.migrationUid;
  if (isSameMigration && order.attempt < last.attempt)
    return refuse(`attempt ${order.attempt} is older than ${last.attempt}`);
  const isOver = journal.rolledBack?.includes(attemptOf(order)) === true;
  if (isOver && order.kind !== OrderKind.ORDER_KIND_RESUME) return refuse('its attempt was rolled back');
  if (isSameMigration && order.attempt === last.attempt && order.kind === last.kind) {
    // A rollback or a cutover that failed must be tried until it works; the others are decided anew by the operator.
    const isTriedAgain = last.status === OrderStatus.ORDER_STATUS_FAILED && retried.has(order.kind);
    return isTriedAgain || isRestoredAgain(last, journal.role) ? run : repeat;
  }

  const allowed = roles[order.kind];
  if (allowed === undefined) return refuse(`order kind ${order.kind} is unknown`);
  if (!allowed.includes(journal.role)) return refuse(`it does not fit the role ${journal.role}`);

  if (journal.role === 'waiting' && order.migrationUid !== restoreFor)
    return refuse('the pod waits for another migration');
  const isStopped = journal.role === 'frozen' || journal.role === 'restored';
  if ((isStopped || bound.has(order.kind)) && !isSameMigration)
    return refuse('the tree was stopped by another migration');
  const isWorking = last?.status === OrderStatus.ORDER_STATUS_WORKING;
  if (isWorking && !(isSameMigration && order.kind === OrderKind.ORDER_KIND_RESUME))
    return refuse('another order is under way');
  return run;
}
