/** What is told of repeated measurements of one thing. */
export interface Summary {
  readonly n: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * The smallest value that at least the fraction q of all are not above (nearest rank): always one that was measured, so the
 * p99 of 20 moves is the slowest of them.
 * @throws RangeError without values, or with q outside ]0, 1]
 */
export function quantile(values: readonly number[], q: number): number {
  if (!(q > 0 && q <= 1)) throw new RangeError(`there is no quantile ${q}`);
  const value = values.toSorted((a, b) => a - b)[Math.ceil(q * values.length) - 1];
  if (value === undefined) throw new RangeError('nothing was measured');
  return value;
}

/** The middle value, or the mean of the two in the middle. @throws RangeError without values */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError('nothing was measured');
  return (lower + upper) / 2;
}

/** @throws RangeError without values */
export function summarize(values: readonly number[]): Summary {
  return { n: values.length, p50: median(values), p99: quantile(values, 0.99), max: quantile(values, 1) };
}

/** A step of several runs, as the agent's and the operator's timelines name it. */
export interface Lap {
  readonly step: string;
  readonly ms: number;
}

/** For each step the median over the runs that had it, in the order of their first appearance. */
export function medianLaps(runs: readonly (readonly Lap[])[]): readonly Lap[] {
  const all = new Map<string, number[]>();
  for (const { step, ms } of runs.flat()) all.set(step, [...(all.get(step) ?? []), ms]);
  return [...all].map(([step, values]) => ({ step, ms: median(values) }));
}

/**
 * The quantile of all measurements when only the slow ones were kept, as `slow`, out of `count`; the others were at most `floor`.
 * @throws RangeError as quantile
 */
export function quantileOfSlow(slow: readonly number[], count: number, floor: number, q: number): number {
  if (!(q > 0 && q <= 1)) throw new RangeError(`there is no quantile ${q}`);
  const fromTop = count - Math.ceil(q * count);
  return slow.toSorted((a, b) => b - a)[fromTop] ?? floor;
}
