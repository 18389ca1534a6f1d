import { sealingOf } from '../store/sealing.ts';
import type { RunOrder } from './context.ts';
import { transferOf } from './transfer.ts';

/** WARM: the target takes into memory what the source sends, and stores, ahead. */
export const warm: RunOrder = async (order, { links, home, kits }) => {
  if (order.options?.off.includes('warmTarget') === true) return { transfer: transferOf({}) };
  if (home !== undefined) kits.warm(sealingOf(home.welcome));
  if (order.direct !== undefined) await links.listen(order.direct.secret);
  if (home !== undefined) await links.warm(`${home.welcome.keyPrefix}packs/`);
  return { transfer: transferOf({}) };
};
