import { setImmediate } from 'node:timers/promises';

/** Gives other work its turns until the condition holds; fails after a second. */
export async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 1_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within a second: ${what}`);
    await setImmediate();
  }
}
