import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { pageBytes } from '../pages/page-size.ts';
import { decodeMappings, type Mapping, type PagemapRun } from './images.ts';
import { pageFlags } from './page-xfer.ts';

/** What image/criu-leave.c writes beside CRIU's images. */
export const leftName = 'left-pages';

const numbersOfRecord = 3;

interface LeftRange {
  readonly page: number;
  readonly pages: number;
}

/**
 * The pages that CRIU was not told of, by process; ascending and disjoint. Pure.
 * @throws PodferryError IMAGE_TRUNCATED when the bytes end within a record
 */
export function parseLeft(bytes: Buffer): Map<number, LeftRange[]> {
  const recordBytes = numbersOfRecord * BigUint64Array.BYTES_PER_ELEMENT;
  if (bytes.byteLength % recordBytes !== 0) {
    throw new PodferryError('IMAGE_TRUNCATED', `${leftName} ends within a record`, { bytes: bytes.byteLength });
  }
  const left = new Map<number, LeftRange[]>();
  for (let at = 0; at < bytes.byteLength; at += recordBytes) {
    const number = (index: number): number =>
      Number(bytes.readBigUInt64LE(at + index * BigUint64Array.BYTES_PER_ELEMENT));
    const [pid, page, end] = [number(0), number(1) / pageBytes, number(2) / pageBytes];
    const ranges = left.get(pid) ?? [];
    if (ranges.length === 0) left.set(pid, ranges);
    ranges.push({ page, pages: end - page });
  }
  return new Map(Array.from(left, ([pid, ranges]) => [pid, union(ranges)]));
}

/** CRIU asks for a window of small mappings, and again for one that its end has cut. */
function union(ranges: readonly LeftRange[]): LeftRange[] {
  const joined: LeftRange[] = [];
  for (const { page, pages } of ranges.toSorted((a, b) => a.page - b.page)) {
    const last = joined.at(-1);
    const from = Math.max(page, last === undefined ? 0 : last.page + last.pages);
    const more = page + pages - from;
    if (more <= 0) continue;
    if (last === undefined || last.page + last.pages < from) joined.push({ page: from, pages: more });
    else joined[joined.length - 1] = { page: last.page, pages: last.pages + more };
  }
  return joined;
}

/** The pages that CRIU was not told of; none when it was told of all. @throws PodferryError IMAGE_TRUNCATED */
export function readLeft(imagesDir: string): Map<number, LeftRange[]> {
  try {
    return parseLeft(readFileSync(join(imagesDir, leftName)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
}

/** The mappings of a process. @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export const readMappings = (imagesDir: string, pid: number): Mapping[] =>
  decodeMappings(readFileSync(join(imagesDir, `mm-${pid}.img`)));

/**
 * A pagemap as CRIU would have written it, had it been told of all pages. Those it was not told of are lazy, or of no flag at all where the
 * process must have them before it runs. Pure.
 * @param runs ascending, as are left and mappings; no page is in two of them
 * @throws PodferryError CRIU_DUMP_FAILED when pages lie outside of all mappings
 */
export function withLeft(
  runs: readonly PagemapRun[],
  left: readonly LeftRange[],
  mappings: readonly Mapping[],
): PagemapRun[] {
  const flagged: PagemapRun[] = [];
  let next = 0;
  for (const range of left) {
    const end = range.page + range.pages;
    for (let page = range.page; page < end;) {
      let mapping = mappings[next];
      while (mapping !== undefined && mapping.to <= page) mapping = mappings[++next];
      if (mapping === undefined || mapping.from > page) {
        throw new PodferryError('CRIU_DUMP_FAILED', `CRIU knows no memory at page 0x${page.toString(16)}`);
      }
      const until = Math.min(end, mapping.to);
      flagged.push({ page, pages: until - page, flags: mapping.mayComeLater ? pageFlags.lazy : 0 });
      page = until;
    }
  }
  return [...runs, ...flagged].toSorted((a, b) => a.page - b.page);
}
