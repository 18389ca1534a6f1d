import { Stalls, type Bucket } from '../pages/stalls.ts';

/** Where the page that somebody touched was: nowhere (all zeroes), in what the source had sent, read ahead from the store, or still there. */
export const faultSources = ['zero', 'direct', 'ahead', 'store'] as const;
export type FaultSource = (typeof faultSources)[number];

/** Of the faults of a lazy restore. */
export interface StallFigures {
  readonly count: number;
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  readonly histogram: readonly Bucket[];
}

export interface FaultFigures {
  readonly all: StallFigures;
  readonly bySource: Readonly<Record<FaultSource, StallFigures>>;
}

/** How long those waited who touched pages that had not come, by where the pages were. */
export class Faults {
  readonly all = new Stalls();
  readonly #bySource: Readonly<Record<FaultSource, Stalls>> = {
    zero: new Stalls(),
    direct: new Stalls(),
    ahead: new Stalls(),
    store: new Stalls(),
  };

  add(source: FaultSource, us: number): void {
    this.all.add(us);
    this.#bySource[source].add(us);
  }

  countOf(source: FaultSource): number {
    return this.#bySource[source].count;
  }

  figures(): FaultFigures {
    const { zero, direct, ahead, store } = this.#bySource;
    return {
      all: figuresOf(this.all),
      bySource: {
        zero: figuresOf(zero),
        direct: figuresOf(direct),
        ahead: figuresOf(ahead),
        store: figuresOf(store),
      },
    };
  }
}

function figuresOf(stalls: Stalls): StallFigures {
  return {
    count: stalls.count,
    p50Us: stalls.quantileUs(0.5),
    p95Us: stalls.quantileUs(0.95),
    p99Us: stalls.quantileUs(0.99),
    maxUs: stalls.maxUs,
    histogram: stalls.histogram(),
  };
}
