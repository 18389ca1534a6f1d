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
  // The entry under way; an object for each run of fragmented memory would take longer than the rest of a restore.
  let [page, next, flags] = [0, 0, 0];
  const end = (): void => {
    if (next > page) pagemap.push({ page, pages: next - page, flags });
  };
  for (const run of image.runs) {
    const isLazy = (run.flags & pageFlags.lazy) !== 0;
    const runFlags = isLazy ? pageFlags.lazy : pageFlags.present;
    if (!isLazy) local.push(run);
    if (runFlags !== flags || next !== run.page) {
      end();
      page = run.page;
      flags = runFlags;
    }
    next = run.page + run.pages;
  }
  end();
  return { name: `pagemap-${image.kind === 'shmem' ? 'shmem-' : ''}${image.id}.img`, pagemap, local };
}
