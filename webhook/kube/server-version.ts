import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { KubeApi } from './api.ts';

const Version = z.looseObject({ major: z.string(), minor: z.string() });

/** Whether init containers may have restartPolicy Always: beta, and on, since 1.29. @see KEP-753 */
export function hasNativeSidecars(version: unknown): boolean {
  const parsed = Version.safeParse(version);
  if (!parsed.success) return false;
  // Some providers write "29+".
  const [major, minor] = [Number.parseInt(parsed.data.major, 10), Number.parseInt(parsed.data.minor, 10)];
  return major > 1 || (major === 1 && minor >= 29);
}

export interface Detection {
  readonly api: KubeApi;
  readonly log: Log;
  readonly attempts?: number;
  readonly attemptMs?: number;
  readonly pauseMs?: number;
}

/** Asks the server; one that does not say gets ordinary sidecars, which every server has. */
export async function detectNativeSidecars({
  api,
  log,
  attempts = 3,
  attemptMs = 2000,
  pauseMs = 500,
}: Detection): Promise<boolean> {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    try {
      return hasNativeSidecars(await api.get({ path: '/version', signal: AbortSignal.timeout(attemptMs) }));
    } catch (error) {
      log.warn('the version of the server is not known', { attempt, ...errorFields(error) });
      if (attempt < attempts) await delay(pauseMs);
    }
  }
  return false;
}
