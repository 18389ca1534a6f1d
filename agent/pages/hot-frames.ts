import type { HotImage, PageImage } from '../store/manifest.ts';
import { zeroPack } from '../store/page-runs.ts';
import { frameOf, framePages } from './touched-frames.ts';

/** 32 MiB. */
const mostFrames = 128;

export interface HotFrame {
  readonly pack: number;
  readonly frame: number;
  /** How many of its pages are hot. */
  readonly pages: number;
}

/** The frames with the most hot pages, those first that have more. Pure. */
export function hotFramesOf(images: readonly PageImage[], hot: readonly HotImage[], most = mostFrames): HotFrame[] {
  const pagesIn = new Map<string, { pack: number; frame: number; pages: number }>();
  for (const { id, ranges } of hot) {
    const runs = images.find((image) => image.kind === 'pid' && image.id === id)?.runs;
    if (runs === undefined) continue;
    for (const [page, pages] of ranges) {
      for (let i = runs.firstFrom(page); i < runs.length && runs.page(i) < page + pages; i += 1) {
        const run = runs.run(i);
        if (run.pack === zeroPack) continue;
        const first = run.at + Math.max(page - run.page, 0);
        const end = run.at + Math.min(page + pages - run.page, run.pages);
        for (let at = first; at < end;) {
          const frame = frameOf(at);
          const next = Math.min(end, (frame + 1) * framePages);
          const name = `${run.pack} ${frame}`;
          const known = pagesIn.get(name) ?? { pack: run.pack, frame, pages: 0 };
          known.pages += next - at;
          pagesIn.set(name, known);
          at = next;
        }
      }
    }
  }
  return [...pagesIn.values()].toSorted((a, b) => b.pages - a.pages).slice(0, most);
}
