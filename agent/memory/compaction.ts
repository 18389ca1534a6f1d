/** What a pack was made of, and what of it is still in use. */
export interface PackUse {
  readonly pack: number;
  readonly pages: number;
  readonly live: number;
  /** Where its live pages lie in each process, in chunks. */
  readonly spans: readonly Span[];
}

export interface Span {
  readonly process: number;
  readonly from: number;
  /** The last one. */
  readonly to: number;
}

/**
 * A restore goes through each process in ascending order and keeps the packs it needs there in memory, a dozen of them (see ReadAhead). Were the pages of
 * a stretch in more packs than that, these would be read again and again. Each round of a move adds a pack or two everywhere.
 */
const maxOverlap = 10;
/** To be had by merging: not again in the next move. */
const mergedOverlap = 4;

/**
 * The packs whose live pages are to be stored anew, so that the packs themselves fall out of use: those of which less than half is in
 * use, the emptiest first, as long as no more than `maxPages` are stored for it. Pure.
 */
export function packsToRewrite(packs: readonly PackUse[], maxPages: number): number[] {
  const chosen: number[] = [];
  let pages = 0;
  const wasteful = packs.filter(({ live, pages: all }) => live > 0 && live * 2 < all);
  for (const { pack, live } of wasteful.toSorted((a, b) => a.live - b.live)) {
    if (pages + live > maxPages) break;
    pages += live;
    chosen.push(pack);
  }
  return chosen;
}

/**
 * The packs whose pages are to be stored anew, and so together, because too many packs lie over one another: where most do, the
 * smallest of them, as long as no more than `maxPages` are stored for it. Pure.
 */
export function packsToMerge(packs: readonly PackUse[], maxPages: number): number[] {
  const chosen: number[] = [];
  let left = packs.filter(({ live }) => live > 0);
  let pages = 0;
  for (;;) {
    const crowd = mostCrowded(left);
    if (crowd.length <= maxOverlap) return chosen;
    const merged: number[] = [];
    for (const { pack, live } of crowd.toSorted((a, b) => a.live - b.live).slice(0, crowd.length - mergedOverlap)) {
      if (pages + live > maxPages) break;
      pages += live;
      merged.push(pack);
    }
    // One alone is only moved.
    if (merged.length < 2) return chosen;
    chosen.push(...merged);
    left = left.filter(({ pack }) => !merged.includes(pack));
  }
}

/** The packs at the place where most lie over one another. Pure. */
function mostCrowded(packs: readonly PackUse[]): PackUse[] {
  const ends = packs.flatMap((use) =>
    use.spans.flatMap(({ process, from, to }) => [
      { process, at: from, isStart: true, use },
      { process, at: to + 1, isStart: false, use },
    ]),
  );
  // What ends before a chunk does not lie over what begins with it.
  ends.sort((a, b) => a.process - b.process || a.at - b.at || Number(a.isStart) - Number(b.isStart));
  const open = new Set<PackUse>();
  let most: PackUse[] = [];
  for (const { isStart, use } of ends) {
    if (isStart) open.add(use);
    else open.delete(use);
    if (open.size > most.length) most = [...open];
  }
  return most;
}
