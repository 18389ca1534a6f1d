/** What the workload says of its memory (hack/programs/workload/workload.c). */
export interface Check {
  readonly pages: number;
  readonly bad: number;
  /** Pages written since the check before. */
  readonly writes: number;
  /** Those of the writes that took longer than slowFloorUs. */
  readonly slowUs: readonly number[];
}

/** A write of a page that took less is not told. */
export const slowFloorUs = 1000;

/** "check pages 16384 bad 0 writes 655 slow 1200 3400". @throws Error when it is something else */
export function parseCheck(line: string): Check {
  const match = /^check pages (\d+) bad (\d+) writes (\d+) slow((?: \d+)*)$/.exec(line);
  if (match === null) throw new Error(`no answer to a check: ${line}`);
  const [pages = 0, bad = 0, writes = 0] = match.slice(1, 4).map(Number);
  const slowUs = (match[4] ?? '')
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);
  return { pages, bad, writes, slowUs };
}

/** Milliseconds of the lines "gap 312.5 at 1795275331713"; other lines are passed over. */
export function parseGaps(lines: readonly string[]): readonly number[] {
  return lines.flatMap((line) => {
    const ms = /^gap (\d+(?:\.\d+)?) at \d+$/.exec(line)?.[1];
    return ms === undefined ? [] : [Number(ms)];
  });
}

/** The pid in "up pid 10000 pages 16384", or undefined when no line says it. */
export function parsePid(lines: readonly string[]): number | undefined {
  const pid = lines.map((line) => /^up pid (\d+) pages \d+$/.exec(line)?.[1]).find((word) => word !== undefined);
  return pid === undefined ? undefined : Number(pid);
}
