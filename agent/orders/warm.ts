import { packsBelow } from '../../proto/store-layout.ts';
import { packsOfLast } from '../direct/last-checkpoint.ts';
import type { FindObjects } from '../direct/links.ts';
import { sealingOf } from '../store/sealing.ts';
import type { RunOrder } from './context.ts';
import { transferOf } from './transfer.ts';

/** WARM: the target takes into memory what the source sends, and stores, and what is stored already, ahead. */
export const warm: RunOrder = async (order, { links, home, kits }) => {
  const off = new Set(order.options?.off);
  if (off.has('warmTarget')) return { transfer: transferOf({}) };
  if (home !== undefined) kits.warm(sealingOf(home.welcome));
  if (order.direct !== undefined) await links.listen(order.direct.secret);
  if (home !== undefined) {
    const { keyPrefix } = home.welcome;
    const sealing = sealingOf(home.welcome);
    const last: FindObjects = (store, signal) => packsOfLast(store, keyPrefix, sealing, signal);
    // Without the delta the next checkpoint names nothing of the last one.
    await links.warm(packsBelow(keyPrefix), off.has('delta') ? undefined : last);
  }
  return { transfer: transferOf({}) };
};
