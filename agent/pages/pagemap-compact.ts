import type { PagemapRun } from '../criu/images.ts';
import { pageFlags } from '../criu/page-xfer.ts';
import type { PageImage, PageRun } from '../store/manifest.ts';

/** One image as CRIU's restore is to see it. */
export interface CompactImage {
  /** `pagemap-10000.img` or `pagemap-shmem-3.img`. */
  readonly name: string;
  /** Lazy entries have no content there; the others have it back to back in `pages-<id>.img`. */
  readonly pagemap: readonly PagemapRun[];
  /** The pages of `pages-<id>.img`, in order. */
  readonly local: readonly PageRun[];
}

/**
 * Divides an image into what is put in page by page and what must lie in a file before CRIU starts (stacks, file mappings, shared memory).
 * Neighbouring lazy entries are joined.
 */
export function compactPagemap(image: PageImage): CompactImage {
  const pagemap: PagemapRun[] = [];
  const local: PageRun[] = [];
  for (const run of image.runs) {
    const isLazy = (run.flags & pageFlags.lazy) !== 0;
    const flags = isLazy ? pageFlags.lazy : pageFlags.present;
    if (!isLazy) local.push(run);
    const last = pagemap.at(-1);
    if (last?.flags === flags && last.page + last.pages === run.page) {
      pagemap[pagemap.length - 1] = { ...last, pages: last.pages + run.pages };
    } else pagemap.push({ page: run.page, pages: run.pages, flags });
  }
  return { name: `pagemap-${image.kind === 'shmem' ? 'shmem-' : ''}${image.id}.img`, pagemap, local };
}
