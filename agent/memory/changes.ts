import type { PageRange } from './address-space.ts';
import { confirmChunks } from './confirm.ts';
import { piecesOf, type Piece } from './pass.ts';
import type { PackSource } from './scanner.ts';
import type { ScanCounts, ScanExtent } from './scan-messages.ts';
import type { KnownProcess, MemorySession } from './session.ts';

/** What of a process a pass has to go through. */
export interface Changes {
  readonly process: KnownProcess;
  /** Whether `unknown` is all there is in the chunks it touches, because its writes were not tracked. */
  readonly isWhole: boolean;
  /** Of which nothing is known. */
  readonly unknown: readonly Piece[];
  /** Pages that are there and may have been written. */
  readonly written: readonly Piece[];
  /** Pages of a running process that are there, written or not; 0 where everything is unknown. */
  readonly therePages: number;
}

/** All of these pieces, whatever was written. Pure. */
export function everything(process: KnownProcess, unknown: readonly Piece[]): Changes {
  return { process, isWhole: true, unknown, written: [], therePages: 0 };
}

/**
 * What a running process has written in its memory since the last pass. From now on its writes are tracked if they can be.
 * @param pass the table's entries of what was not written count as of this pass
 */
export async function liveChanges(
  session: MemorySession,
  process: KnownProcess,
  lazy: readonly PageRange[],
  pass: number,
): Promise<Changes> {
  const found = await session.tracking?.written(process, lazy, true);
  if (found === undefined) {
    // Before the first byte is read: what is written meanwhile is seen in the next pass.
    await session.tracking?.arm(process, lazy);
    return everything(process, piecesOf(lazy));
  }
  confirmChunks(session.table, process.chunks, found.there, pass);
  return {
    process,
    isWhole: false,
    unknown: piecesOf(found.failed),
    written: piecesOf(found.written),
    therePages: found.there.reduce((sum, { from, to }) => sum + to - from, 0),
  };
}

/** What a stopped process had written in these ranges, or undefined when that is not known. */
export async function frozenChanges(
  session: MemorySession,
  process: KnownProcess,
  ranges: readonly PageRange[],
): Promise<Changes | undefined> {
  const found = await session.tracking?.written(process, ranges, false);
  if (found === undefined) return undefined;
  return {
    process,
    isWhole: false,
    unknown: piecesOf(found.failed),
    written: piecesOf(found.written),
    therePages: 0,
  };
}

export interface ReadOptions {
  readonly pass: number;
  readonly newSource: () => PackSource;
  readonly signal: AbortSignal;
}

/**
 * Reads what has changed and stores what is new of it; `present` counts every page that is there.
 * @throws as Scanner.pass
 */
export async function readChanges(
  { scanner }: MemorySession,
  changes: readonly Changes[],
  options: ReadOptions,
): Promise<ScanCounts> {
  const pass = (from: readonly Changes[], what: 'unknown' | 'written', extent: ScanExtent): Promise<ScanCounts> =>
    scanner.pass({ ...options, targets: from.map((change) => ({ ...change.process, pieces: change[what], extent })) });
  const [wholes, parts] = [changes.filter(({ isWhole }) => isWhole), changes.filter(({ isWhole }) => !isWhole)];
  // One after the other: a chunk may be in several.
  const whole = await pass(wholes, 'unknown', 'whole');
  const part = await pass(parts, 'unknown', 'part');
  const written = await pass(parts, 'written', 'there');
  return {
    present: whole.present + parts.reduce((sum, { therePages }) => sum + therePages, 0),
    zero: whole.zero + part.zero + written.zero,
    changed: whole.changed + part.changed + written.changed,
  };
}
