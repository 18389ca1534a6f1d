import { PodferryError } from '../../proto/errors.ts';
import type { MoveOptions } from '../../proto/gen/agent/v1/agent.ts';
import { Attempt } from '../checkpoint/attempt.ts';
import { Stopwatch } from '../checkpoint/stopwatch.ts';
import { dumpMode } from '../memory/dump-mode.ts';
import { readMemoryUse } from '../memory/memory-use.ts';
import { preCopy } from '../memory/pre-copy.ts';
import type { RoundLimits } from '../memory/rounds.ts';
import { sealingOf } from '../store/sealing.ts';
import type { RunOrder } from './context.ts';
import { newTracking } from './tracking.ts';
import { transferOf } from './transfer.ts';

const defaultFreezeMs = 300;
/** Of the freeze, for storing what changed last; the rest goes to stopping, reading and writing the manifest. */
const shareOfRest = 1 / 3;

/** How often the memory may be gone through before the freeze. */
export function roundLimits(options: MoveOptions | undefined, maxRounds: number): RoundLimits {
  const freezeMs = options === undefined || options.freezeBudgetMs === 0 ? defaultFreezeMs : options.freezeBudgetMs;
  // Without the delta everything is stored in the freeze.
  return { budgetMs: freezeMs * shareOfRest, maxRounds: options?.off.includes('delta') === true ? 0 : maxRounds };
}

const maxRounds = 8;

/** PRECOPY: copies the memory of the running application ahead, so that the freeze has only what changed since. */
export const precopy: RunOrder = async (order, context) => {
  const { home, journal, config, log } = context;
  if (home === undefined)
    throw new PodferryError('INTERNAL', 'a copy ahead was ordered before the operator named a store');
  const rootPid = journal.appPid;
  if (rootPid === undefined)
    throw new PodferryError('APP_NOT_RUNNING', `nothing runs in container ${config.original.container}`);
  const { keyPrefix } = home.welcome;
  const sealing = sealingOf(home.welcome);
  const purpose = { rootPid, keyPrefix, sealing };

  const watch = new Stopwatch();
  const attempt = new Attempt(`copying the memory of pid ${rootPid}`, context.deadlineMs, context.signal);
  const session = await context.memory.take(purpose, newTracking(order.options, log));
  try {
    const pids = session.lookAtTree().map(({ pid }) => pid);
    if (dumpMode(readMemoryUse(pids, session.presentBytes)) === 'receive') {
      log.info('nothing is copied ahead: CRIU sends the shared or locked memory in the freeze');
      await session.close();
      return { transfer: transferOf({}) };
    }
    await attempt.race(session.ready());
    watch.lap('prepare');
    const { signal, fail } = attempt;
    const stored = session.startUpload({ store: home.store, keyPrefix, sealing, signal, fail });
    const copied = await attempt.race(preCopy(session, stored, roundLimits(order.options, maxRounds), signal));
    watch.lap('live rounds');
    log.info('memory copied ahead', {
      rounds: copied.rounds.length,
      why: copied.why,
      presentBytes: session.presentBytes,
    });
    context.memory.keep(session, purpose);
    return {
      transfer: transferOf({
        pageBytes: session.presentBytes ?? 0,
        storedBytes: stored.upload.storedBytes,
        rounds: copied.rounds.length,
        tookMs: watch.tookMs,
        timeline: [...watch.timeline],
      }),
    };
  } catch (error) {
    const failure = attempt.failure(error);
    await session.close();
    throw failure;
  } finally {
    attempt.end();
  }
};
