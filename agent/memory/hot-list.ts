import { maxHotRanges, type HotImage, type PageImage } from '../store/manifest.ts';
import { joinRanges, type PageRange } from './address-space.ts';

/** Hot pages that lie this close together are named together: they mostly lie in one frame. */
const gapPages = 8;

/**
 * What a restore should have first: what was seen to change while the application ran, and what the freeze had to store. Of too many
 * ranges the longest. Pure.
 * @param seen of each process, ascending
 * @param isFresh whether a pack was stored in the freeze
 */
export function hotList(
  seen: ReadonlyMap<number, readonly PageRange[]>,
  pages: readonly PageImage[],
  isFresh: (pack: number) => boolean,
): HotImage[] {
  const all = pages
    .filter(({ kind }) => kind === 'pid')
    .flatMap(({ id, runs }) => {
      const fresh: PageRange[] = [];
      for (let i = 0; i < runs.length; i += 1) {
        if (isFresh(runs.pack(i))) fresh.push({ from: runs.page(i), to: runs.end(i) });
      }
      return joinRanges([...(seen.get(id) ?? []), ...fresh], gapPages).map((range) => ({ id, range }));
    });
  const size = ({ range }: { readonly range: PageRange }): number => range.to - range.from;
  const chosen = all.length <= maxHotRanges ? all : all.toSorted((a, b) => size(b) - size(a)).slice(0, maxHotRanges);
  return [...new Set(chosen.map(({ id }) => id))].map((id) => ({
    id,
    ranges: chosen
      .filter((each) => each.id === id)
      .toSorted((a, b) => a.range.from - b.range.from)
      .map(({ range }): [number, number] => [range.from, range.to - range.from]),
  }));
}
