import { type ErrorCode, errorKinds } from '../proto/errors.ts';

/** Why a workload is left as it is; used in the response's warning, the log and the tests. */
export interface Skip {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The API server cuts warnings off at this many characters when there are many of them. */
const longestWarning = 256;

/** One line for `kubectl`: the code, what is wrong, what to do. Printable ASCII, since it travels in an HTTP header. */
export function warningOf({ code, message }: Skip): string {
  const hint = errorKinds[code].hint;
  const room = longestWarning - `podferry: ${code}:  (${hint})`.length;
  const short = message.length > room ? `${message.slice(0, Math.max(0, room - 3))}...` : message;
  return `podferry: ${code}: ${short} (${hint})`.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, longestWarning);
}
