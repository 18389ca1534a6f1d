/** One time that the memory was gone through while the application ran. */
export interface Round {
  /** Pages that were new or other than before. */
  readonly changedBytes: number;
  /** Not looked at, since it changes all the time: it is left to the freeze. */
  readonly excludedBytes?: number;
  /** Until all of it was durable. */
  readonly tookMs: number;
}

export interface RoundLimits {
  /** What storing the rest may cost of the freeze. */
  readonly budgetMs: number;
  readonly maxRounds: number;
  /** Pages that change in every round are left to the freeze, as far as they fit its budget. */
  readonly excludesHot?: boolean;
}

export type NextRound =
  { readonly go: true } | { readonly go: false; readonly why: 'fits' | 'does not shrink' | 'enough rounds' };

/** A round that leaves more than this part of what the one before left is no progress. */
const progress = 0.8;
/** Below this, a round measures its own fixed cost and not the store's rate. */
const leastMeasuredBytes = 8 * 1024 * 1024;
/** Assumed while nothing was measured, bytes a millisecond: a modest network. */
const assumedRate = 100_000;

/**
 * Decides whether to go through the memory once more before the freeze. What changed in the last round is what to expect of the time
 * until the next; the freeze must store that much. Pure.
 * @param rate see rateOf
 */
export function nextRound(history: readonly Round[], { budgetMs, maxRounds }: RoundLimits, rate: number): NextRound {
  const last = history.at(-1);
  if (last === undefined) return maxRounds > 0 ? { go: true } : { go: false, why: 'enough rounds' };
  if (left(last) / rate <= budgetMs) return { go: false, why: 'fits' };
  if (history.length >= maxRounds) return { go: false, why: 'enough rounds' };
  const before = history.at(-2);
  if (before !== undefined && left(last) > left(before) * progress) {
    return { go: false, why: 'does not shrink' };
  }
  return { go: true };
}

/** What the freeze would have to store after this round. */
const left = ({ changedBytes, excludedBytes = 0 }: Round): number => changedBytes + excludedBytes;

/** The best rate at which any round of some size was stored, bytes a millisecond. Pure. */
export function rateOf(history: readonly Round[]): number {
  const measured = history.filter(({ changedBytes }) => changedBytes >= leastMeasuredBytes);
  const rates = measured.map(({ changedBytes, tookMs }) => changedBytes / Math.max(tookMs, 1));
  return rates.length === 0 ? assumedRate : Math.max(...rates);
}
