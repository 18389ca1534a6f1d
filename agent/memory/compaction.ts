/** What a pack was made of, and what of it is still in use. */
export interface PackUse {
  readonly pack: number;
  readonly pages: number;
  readonly live: number;
}

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
