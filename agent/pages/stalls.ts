/** Four buckets for each doubling: a percentile is at most a fifth too high. */
const bucketsPerOctave = 4;
const buckets = 32 * bucketsPerOctave;

/** Waits of about the same length. */
export interface Bucket {
  readonly upToUs: number;
  readonly count: number;
}

/** How long something waited, as a histogram: it takes any number of waits in little memory. */
export class Stalls {
  readonly #counts = new Float64Array(buckets);
  #count = 0;
  #maxUs = 0;

  add(us: number): void {
    const octaves = Math.log2(Math.max(us, 1));
    const bucket = Math.min(Math.ceil(octaves * bucketsPerOctave), buckets - 1);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
    this.#maxUs = Math.max(this.#maxUs, us);
  }

  get count(): number {
    return this.#count;
  }

  get maxUs(): number {
    return Math.round(this.#maxUs);
  }

  /** Those that are not empty, shortest waits first. */
  histogram(): Bucket[] {
    return [...this.#counts].flatMap((count, bucket) =>
      count === 0 ? [] : { upToUs: Math.round(2 ** (bucket / bucketsPerOctave)), count },
    );
  }

  /** What this share of the waits did not exceed, in µs; 0 when there was none. @param share 0..1 */
  quantileUs(share: number): number {
    const rank = Math.ceil(this.#count * share);
    let passed = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      passed += count;
      if (count > 0 && passed >= rank) return Math.min(Math.round(2 ** (bucket / bucketsPerOctave)), this.maxUs);
    }
    return 0;
  }
}
