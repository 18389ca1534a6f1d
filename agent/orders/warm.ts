import type { RunOrder } from './context.ts';
import { transferOf } from './transfer.ts';

/** WARM: the target listens for what the source sends ahead. */
export const warm: RunOrder = async (order, { links }) => {
  if (order.direct !== undefined) await links.listen(order.direct.secret);
  return { transfer: transferOf({}) };
};
