/** A step and how long it took; steps follow one another without gaps. */
export interface Timing {
  readonly step: string;
  readonly ms: number;
}

/** Divides the time since its making into steps. */
export class Stopwatch {
  readonly #startedAt = performance.now();
  #lastAt = this.#startedAt;
  readonly #timeline: Timing[] = [];

  /** Ends a step, which began at the end of the one before. */
  lap(step: string): void {
    const now = performance.now();
    this.#timeline.push({ step, ms: Math.round(now - this.#lastAt) });
    this.#lastAt = now;
  }

  get timeline(): readonly Timing[] {
    return this.#timeline;
  }

  get tookMs(): number {
    return Math.round(performance.now() - this.#startedAt);
  }
}
