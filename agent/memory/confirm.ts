import type { PageRange } from './address-space.ts';
import { chunkPages, type PageTable, type ProcessChunks } from './page-table.ts';

/**
 * Lets the entries of pages inside these ranges count as of this pass, and forgets the others in the chunks they touch. Chunks outside all ranges
 * stay as they are.
 * @param ranges ascending
 */
export function confirmChunks(
  table: PageTable,
  chunks: ProcessChunks,
  ranges: readonly PageRange[],
  pass: number,
): void {
  for (const [chunk, slot] of chunks.slots) {
    const start = chunk * chunkPages;
    const end = start + chunkPages;
    let at = firstAfter(ranges, start);
    if ((ranges[at]?.from ?? end) >= end) continue;
    chunks.passes.set(chunk, pass);
    let covered = start;
    for (let range = ranges[at]; range !== undefined && range.from < end; range = ranges[(at += 1)]) {
      if (range.from > covered) table.forget(slot, covered - start, range.from - start);
      covered = Math.min(range.to, end);
    }
    if (covered < end) table.forget(slot, covered - start, chunkPages);
  }
}

/** Index of the first range that does not end at or before a page. */
function firstAfter(ranges: readonly PageRange[], page: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle]?.to ?? 0) <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}
