import type { PagemapRun } from '../criu/images.ts';
import { pageFlags } from '../criu/page-xfer.ts';
import type { PageImage } from '../store/manifest.ts';
import type { PageRun } from '../store/page-runs.ts';

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
export function compactPagemap({ kind, id, runs }: PageImage): CompactImage {
  const pagemap: PagemapRun[] = [];
  const local: PageRun[] = [];
  // The entry under way.
  let [page, next, flags] = [0, 0, 0];
  const end = (): void => {
    if (next > page) pagemap.push({ page, pages: next - page, flags });
  };
  for (let i = 0; i < runs.length; i += 1) {
    const isLazy = (runs.flags(i) & pageFlags.lazy) !== 0;
    const runFlags = isLazy ? pageFlags.lazy : pageFlags.present;
    if (!isLazy) local.push(runs.run(i));
    if (runFlags !== flags || next !== runs.page(i)) {
      end();
      page = runs.page(i);
      flags = runFlags;
    }
    next = runs.end(i);
  }
  end();
  return { name: `pagemap-${kind === 'shmem' ? 'shmem-' : ''}${id}.img`, pagemap, local };
}
