import type { MoveOptions } from '../../proto/gen/agent/v1/agent.ts';
import { Attempt } from '../checkpoint/attempt.ts';
import { rehearse } from '../checkpoint/rehearse.ts';
import { Stopwatch } from '../checkpoint/stopwatch.ts';
import { dumpMode } from '../memory/dump-mode.ts';
import { readMemoryUse } from '../memory/memory-use.ts';
import { preCopy } from '../memory/pre-copy.ts';
import type { RoundLimits } from '../memory/rounds.ts';
import type { RunOrder } from './context.ts';
import { takeMemory } from './memory.ts';
import { transferOf } from './transfer.ts';

const defaultFreezeMs = 300;
/** Of the freeze, for storing what changed last; the rest goes to stopping, reading and writing the manifest. */
const shareOfRest = 1 / 3;

/** How often the memory may be gone through before the freeze. */
export function roundLimits(options: MoveOptions | undefined, maxRounds: number): RoundLimits {
  const freezeMs = options === undefined || options.freezeBudgetMs === 0 ? defaultFreezeMs : options.freezeBudgetMs;
  // Without the delta everything is stored in the freeze.
  return {
    budgetMs: freezeMs * shareOfRest,
    maxRounds: options?.off.includes('delta') === true ? 0 : maxRounds,
    excludesHot: options?.off.includes('hotExclusion') !== true,
  };
}

const maxRounds = 8;

/** PRECOPY: copies the memory of the running application ahead, so that the freeze has only what changed since. */
export const precopy: RunOrder = async (order, context) => {
  const { log } = context;
  const watch = new Stopwatch();
  const { session, purpose, store, welcome, sealing } = await takeMemory(order, context);
  const { keyPrefix } = welcome;
  const attempt = new Attempt(`copying the memory of pid ${session.rootPid}`, context.deadlineMs, context.signal);
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
    const compresses = order.options?.off.includes('compression') !== true;
    const stored = session.startUpload({ store, keyPrefix, sealing, signal, fail, compresses });
    const copied = await attempt.race(preCopy(session, stored, roundLimits(order.options, maxRounds), signal));
    watch.lap('live rounds');
    rehearse(session, sealing);
    watch.lap('rehearsal');
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
