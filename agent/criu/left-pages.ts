import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { joinRanges, type PageRange } from '../memory/address-space.ts';
import { pageBytes } from '../pages/page-size.ts';
import { decodeMappings, type Mapping, type PagemapRun } from './images.ts';
import { pageFlags } from './page-xfer.ts';

/** What image/criu-leave.c writes beside CRIU's images. */
export const leftName = 'left-pages';

const numbersOfRecord = 3;

/**
 * The pages that CRIU was not told of, by process; ascending and disjoint. Pure.
 * @throws PodferryError IMAGE_TRUNCATED when the bytes end within a record
 */
export function parseLeft(bytes: Buffer): Map<number, PageRange[]> {
  const recordBytes = numbersOfRecord * BigUint64Array.BYTES_PER_ELEMENT;
  if (bytes.byteLength % recordBytes !== 0) {
    throw new PodferryError('IMAGE_TRUNCATED', `${leftName} ends within a record`, { bytes: bytes.byteLength });
  }
  const left = new Map<number, PageRange[]>();
  for (let at = 0; at < bytes.byteLength; at += recordBytes) {
    const number = (index: number): number =>
      Number(bytes.readBigUInt64LE(at + index * BigUint64Array.BYTES_PER_ELEMENT));
    const [pid, from, to] = [number(0), number(1) / pageBytes, number(2) / pageBytes];
    const ranges = left.get(pid) ?? [];
    if (ranges.length === 0) left.set(pid, ranges);
    ranges.push({ from, to });
  }
  // CRIU asks for a window of small mappings, and again for one that its end has cut.
  return new Map(Array.from(left, ([pid, ranges]) => [pid, joinRanges(ranges)]));
}

/** The pages that CRIU was not told of; none when it was told of all. @throws PodferryError IMAGE_TRUNCATED */
export function readLeft(imagesDir: string): Map<number, PageRange[]> {
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
  left: readonly PageRange[],
  mappings: readonly Mapping[],
): PagemapRun[] {
  const flagged: PagemapRun[] = [];
  let next = 0;
  for (const { from, to } of left) {
    for (let page = from; page < to;) {
      let mapping = mappings[next];
      while (mapping !== undefined && mapping.to <= page) mapping = mappings[++next];
      if (mapping === undefined || mapping.from > page) {
        throw new PodferryError('CRIU_DUMP_FAILED', `CRIU knows no memory at page 0x${page.toString(16)}`);
      }
      const until = Math.min(to, mapping.to);
      flagged.push({ page, pages: until - page, flags: mapping.mayComeLater ? pageFlags.lazy : 0 });
      page = until;
    }
  }
  return [...runs, ...flagged].toSorted((a, b) => a.page - b.page);
}
