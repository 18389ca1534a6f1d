import type { PagemapRun } from '../criu/images.ts';
import { pageFlags } from '../criu/page-xfer.ts';
import type { PageImage, PageRun } from '../store/manifest.ts';

/**
 * 64 MiB. `criu lazy-pages` makes a buffer as long as its longest entry, and counts it in an int: entries of 2 GiB and more end it, or worse
 * (checkpoint-restore/criu criu/uffd.c, collect_iovs, 4.2.1).
 */
const maxEntryPages = 16_384;

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
 * Divides an image into what the lazy daemon asks for page by page and what must lie in a file before CRIU starts (stacks,
 * file mappings, shared memory). Neighbouring lazy entries are joined, so that the daemon's requests grow to 4 MiB.
 */
export function compactPagemap(image: PageImage): CompactImage {
  const pagemap: PagemapRun[] = [];
  const local: PageRun[] = [];
  for (const run of image.runs) {
    const isLazy = (run.flags & pageFlags.lazy) !== 0;
    const flags = isLazy ? pageFlags.lazy : pageFlags.present;
    if (!isLazy) local.push(run);
    const most = isLazy ? maxEntryPages : Number.POSITIVE_INFINITY;
    for (let done = 0; done < run.pages;) {
      const last = pagemap.at(-1);
      const page = run.page + done;
      const isJoined = last?.flags === flags && last.page + last.pages === page && last.pages < most;
      const pages = Math.min(run.pages - done, most - (isJoined ? last.pages : 0));
      if (isJoined) pagemap[pagemap.length - 1] = { ...last, pages: last.pages + pages };
      else pagemap.push({ page, pages, flags });
      done += pages;
    }
  }
  return { name: `pagemap-${image.kind === 'shmem' ? 'shmem-' : ''}${image.id}.img`, pagemap, local };
}
