import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import { readProcess, type ProcessId } from '../launch/proc-stat.ts';
import { storeLog, type LogFile } from '../store/logs.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';

const lookEveryMs = 25;
/** A move that has not ended by then is none that logs could hold up. */
const frozenMs = 10 * 60_000;
const deadlineMs = 60_000;
const stoppedStates = 'Tt';

export interface KeepLogsOptions {
  readonly store: Store;
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly checkpoint: string;
  readonly sealing: Sealing;
  /** The application's first process: nothing is stored while it is stopped. undefined: there is none. */
  readonly root: ProcessId | undefined;
  /** Asked for when the freeze is over. */
  readonly logs: () => Promise<readonly LogFile[]> | readonly LogFile[];
  readonly log: Log;
}

/**
 * Puts what was said and measured beside the checkpoint, once the application runs again, or has ended here. It never rejects: nothing
 * depends on it.
 */
export async function keepLogs(options: KeepLogsOptions): Promise<void> {
  const { store, sealing, root, log } = options;
  try {
    if (root !== undefined) await untilNotStopped(root);
    const logs = await options.logs();
    const signal = AbortSignal.timeout(deadlineMs);
    for (const file of logs) await storeLog(store, options, file, sealing, signal);
    log.info('logs stored beside the checkpoint', {
      checkpoint: options.checkpoint,
      logs: logs.map(({ name }) => name),
    });
  } catch (error) {
    log.warn('logs were not stored', errorFields(error));
  }
}

/** @throws PodferryError DEADLINE_EXCEEDED */
async function untilNotStopped({ pid, startTime }: ProcessId): Promise<void> {
  const endsAt = performance.now() + frozenMs;
  while (performance.now() < endsAt) {
    const process = readProcess(pid);
    if (process?.startTime !== startTime || !stoppedStates.includes(process.state)) return;
    await delay(lookEveryMs, undefined, { ref: false });
  }
  throw new PodferryError('DEADLINE_EXCEEDED', `process ${pid} was still stopped after ${frozenMs} ms`, { pid });
}
