import { setTimeout as delay } from 'node:timers/promises';

/**
 * Polls until `probe` gives something else than undefined or false; what it threw last is told when the time is over.
 * The only place of the end-to-end tests that waits.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  timeoutMs = 60_000,
  everyMs = 200,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await delay(everyMs);
  } while (Date.now() < deadline);
  throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: last });
}
