import { setTimeout as delay } from 'node:timers/promises';

/**
 * Starts work at a fixed rate, whether or not what was started before has ended: a slow server gets no fewer requests for it.
 * @param goesOn asked before each start with its number, from 0 on
 * @returns when all of it has ended
 * @throws what the first work throws that fails
 */
export async function openLoop(
  perSecond: number,
  goesOn: (n: number) => boolean,
  work: (n: number) => Promise<void>,
): Promise<void> {
  const beganMs = performance.now();
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for (let n = 0; failures.length === 0 && goesOn(n); n += 1) {
    const waitMs = beganMs + (n * 1000) / perSecond - performance.now();
    if (waitMs > 0) await delay(waitMs);
    const one = work(n)
      .catch((error: unknown) => {
        failures.push(error);
      })
      .finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}
