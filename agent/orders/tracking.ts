import { paths } from '../../proto/names.ts';
import type { MoveOptions } from '../../proto/gen/agent/v1/agent.ts';
import type { Log } from '../../proto/logging.ts';
import { WriteTracking } from '../profiler/write-tracking.ts';

/** How a new memory session learns what is written; undefined when the order switches it off. */
export function newTracking(options: MoveOptions | undefined, log: Log): (() => WriteTracking) | undefined {
  if (options?.off.includes('dirtyTracking') === true) return undefined;
  return () =>
    new WriteTracking({
      binary: paths.placeholderInImage,
      onFallback: (why, pid) => log.info('writes are not tracked, so all memory is read each time', { why, pid }),
    });
}
