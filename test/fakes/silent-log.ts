import { createLog, type Log } from '../../proto/logging.ts';

/** A log that says nothing. */
export function silentLog(): Log {
  const log = createLog('test');
  log.silent = true;
  return log;
}
