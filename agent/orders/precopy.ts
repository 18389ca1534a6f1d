import type { RunOrder } from './context.ts';
import { transferOf } from './transfer.ts';

/** PRECOPY: copies the memory of the running application ahead, so that the freeze has only what changed since. */
export const precopy: RunOrder = async () => ({ transfer: transferOf({}) });
