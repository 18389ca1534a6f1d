import { OrderKind, OrderStatus, type Order } from '../../proto/gen/agent/v1/agent.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { ConnectOptions, DirectLinks } from './links.ts';

/** The orders during which pages go from agent to agent. */
const moving: ReadonlySet<OrderKind> = new Set([
  OrderKind.ORDER_KIND_WARM,
  OrderKind.ORDER_KIND_PRECOPY,
  OrderKind.ORDER_KIND_CHECKPOINT,
  OrderKind.ORDER_KIND_RESTORE,
]);

/**
 * Whether the connection of a move has served when an order ends: the move failed here, or is over here; a source has nothing
 * to send once its checkpoint is complete, a target needs what came until the last page is in.
 */
export function isLinkOver(kind: OrderKind, status: OrderStatus, isDraining: boolean): boolean {
  if (isDraining) return false;
  if (status === OrderStatus.ORDER_STATUS_FAILED) return moving.has(kind);
  if (kind === OrderKind.ORDER_KIND_CHECKPOINT) return true;
  return !moving.has(kind) && kind !== OrderKind.ORDER_KIND_PREFLIGHT;
}

/** The store, when it was quicker, waits for the target: less in the freeze, when the application waits, too. */
const connections: { readonly [kind in OrderKind]?: ConnectOptions } = {
  [OrderKind.ORDER_KIND_PRECOPY]: { patienceMs: 2_000 },
  [OrderKind.ORDER_KIND_CHECKPOINT]: { patienceMs: 100, isFreezing: true },
};

/** The source's end of the connection; without one everything takes the way through the store. */
export async function connectToTarget({ kind, direct }: Order, links: DirectLinks, log: Log): Promise<void> {
  const connection = connections[kind];
  if (connection === undefined || direct === undefined || direct.port === 0) return;
  try {
    await links.connect(direct.host, direct.port, direct.secret, connection);
  } catch (error) {
    log.warn('no connection to the target; pages take the way through the store', errorFields(error));
  }
}
