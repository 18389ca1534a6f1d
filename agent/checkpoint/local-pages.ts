import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { pageFlags } from '../criu/page-xfer.ts';
import { pageBytes } from '../pages/page-size.ts';
import type { Extent } from '../store/manifest.ts';
import type { PackWriter } from '../store/pack-writer.ts';
import type { PageRun } from '../store/page-runs.ts';
import { storeFile, type PagemapFile } from './take-images.ts';

/** A pagemap with the places of those pages that CRIU has written itself. */
export interface LocalPages {
  readonly pagemap: PagemapFile;
  /** Ascending; packs are indices of the upload. */
  readonly runs: readonly PageRun[];
}

/** Whether the pages of an entry are in CRIU's file. */
export const isLocal = (flags: number): boolean => (flags & pageFlags.present) !== 0;

/** Stores the pages that CRIU has written itself. `writer` must be at the start of a page. */
export async function storeLocalPages(
  pagemaps: readonly PagemapFile[],
  workDir: string,
  writer: PackWriter,
): Promise<LocalPages[]> {
  const all: LocalPages[] = [];
  for (const pagemap of pagemaps) {
    const local = pagemap.runs.filter(({ flags }) => isLocal(flags));
    const at = local.length === 0 ? [] : await storeFile(join(workDir, `pages-${pagemap.pagesId}.img`), writer);
    all.push({ pagemap, runs: placeRuns(local, at) });
  }
  return all;
}

/**
 * Says where pages lie whose content follows one another in extents. Pure.
 * @throws PodferryError IMAGE_TRUNCATED when the extents are shorter than the pages
 */
export function placeRuns(
  local: readonly { readonly page: number; readonly pages: number; readonly flags: number }[],
  at: readonly Extent[],
): PageRun[] {
  const runs: PageRun[] = [];
  let i = 0;
  let used = 0;
  for (const { page, pages, flags } of local) {
    for (let done = 0; done < pages;) {
      const extent = at[i];
      if (extent === undefined) throw new PodferryError('IMAGE_TRUNCATED', 'CRIU wrote fewer pages than it lists');
      const count = Math.min(pages - done, (extent.bytes - used) / pageBytes);
      runs.push({ page: page + done, pages: count, flags, pack: extent.pack, at: (extent.offset + used) / pageBytes });
      done += count;
      used += count * pageBytes;
      if (used === extent.bytes) {
        i += 1;
        used = 0;
      }
    }
  }
  return runs;
}
