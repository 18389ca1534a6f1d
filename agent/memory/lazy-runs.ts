import type { PageRunsWriter } from '../store/page-runs.ts';
import type { PageRange } from './address-space.ts';
import {
  absentPack,
  chunkPages,
  wordOfPack,
  wordOfPlace,
  wordsOfPage,
  type PageTable,
  type ProcessChunks,
} from './page-table.ts';

/**
 * Says of neighbouring pages where their content is, in runs as long as can be.
 * @param pass chunks that were last gone through before it count as unknown
 * @param runs get what is known; packs are numbers of the session
 * @returns what the table does not know, or knew before `pass` only
 */
export function findRuns(
  table: PageTable,
  chunks: ProcessChunks,
  { from, to }: PageRange,
  flags: number,
  pass: number,
  runs: PageRunsWriter,
): PageRange[] {
  const missing: PageRange[] = [];
  let start = from;
  let pack = absentPack;
  let at = 0;
  const flush = (end: number): void => {
    if (end === start) return;
    if (pack === absentPack) missing.push({ from: start, to: end });
    else runs.add(start, end - start, flags, pack, at);
    start = end;
  };
  let isOpen = false;
  for (let page = from; page < to;) {
    const chunk = Math.floor(page / chunkPages);
    const end = Math.min(to, (chunk + 1) * chunkPages);
    const slot = (chunks.passes.get(chunk) ?? -1) >= pass ? chunks.slots.get(chunk) : undefined;
    const entries = slot === undefined ? undefined : table.entries(slot);
    for (; page < end; page += 1) {
      const word = (page % chunkPages) * wordsOfPage;
      const nextPack = entries?.[word + wordOfPack] ?? absentPack;
      const nextAt = nextPack >= 0 ? (entries?.[word + wordOfPlace] ?? 0) : 0;
      const goesOn = isOpen && nextPack === pack && nextAt === (pack >= 0 ? at + page - start : 0);
      if (goesOn) continue;
      if (isOpen) flush(page);
      isOpen = true;
      start = page;
      pack = nextPack;
      at = nextAt;
    }
  }
  if (isOpen) flush(to);
  return missing;
}
