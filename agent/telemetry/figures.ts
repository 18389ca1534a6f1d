import type { LazyCounts } from '../pages/page-filling.ts';
import type { LogFile } from '../store/logs.ts';
import type { FaultFigures } from './faults.ts';

const asLog = (name: string, figures: unknown): LogFile => ({
  name,
  content: Buffer.from(`${JSON.stringify(figures, undefined, 2)}\n`),
});

/** What the order of an experiment said about how to move. */
export interface How {
  readonly strategy: string;
  readonly off: readonly string[];
}

const howOf = ({ strategy, off }: How): How => ({ strategy, off });

interface Step {
  readonly step: string;
  readonly ms: number;
}

export interface SourceFigures {
  readonly pageBytes: number;
  readonly storedBytes: number;
  readonly fileBytes: number;
  readonly freezeMs: number;
  readonly tookMs: number;
  readonly rounds: number;
  /** Each time that the memory was gone through while the application ran. */
  readonly liveRounds: readonly { readonly changedBytes: number; readonly tookMs: number }[];
  readonly timeline: readonly Step[];
}

/** The source's part of a move. Pure. */
export function sourceLog(figures: SourceFigures, how: How): LogFile {
  return asLog('source.json', { ...howOf(how), ...figures });
}

export interface TargetFigures {
  readonly pageBytes: number;
  readonly storedBytes: number;
  readonly fileBytes: number;
  readonly tookMs: number;
  readonly timeline: readonly Step[];
  readonly drainMs: number;
  readonly counts: LazyCounts;
  readonly faults: FaultFigures;
}

/** The target's part of a move: what its restore cost the application. Pure. */
export function targetLog(figures: TargetFigures, how: How): LogFile {
  const { counts, faults, pageBytes, storedBytes, fileBytes, tookMs, drainMs, timeline } = figures;
  const { aheadHits, aheadMisses, servedPages } = counts;
  const requests = aheadHits + aheadMisses;
  return asLog('target.json', {
    ...howOf(how),
    pageBytes,
    storedBytes,
    fileBytes,
    tookMs,
    drainMs,
    timeline,
    prefetch: { hits: aheadHits, misses: aheadMisses, hitRate: requests === 0 ? null : aheadHits / requests },
    servedPages,
    // CRIU asks for a touched page alone.
    pagesPerFault: faults.all.count === 0 ? null : 1,
    faults,
  });
}
