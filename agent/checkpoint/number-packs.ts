import { PodferryError } from '../../proto/errors.ts';
import type { Extent, Pack, PageImage, StoredImage } from '../store/manifest.ts';

/** The parts of a manifest that name packs. */
export interface PackUsers {
  readonly images: readonly StoredImage[];
  readonly pages: readonly PageImage[];
  readonly archive: readonly Extent[] | undefined;
}

/**
 * Numbers the packs that a checkpoint uses from 0 on, in the order in which it uses them; others are not named. Pure.
 * @param packs by the numbers that the users have now; durable
 * @throws PodferryError INTERNAL when one is used that is not there
 */
export function numberPacks(
  { images, pages, archive }: PackUsers,
  packs: readonly (Pack | undefined)[],
): PackUsers & { readonly packs: readonly Pack[] } {
  const used: Pack[] = [];
  const numbers = new Map<number, number>();
  const numberOf = (pack: number): number => {
    const known = numbers.get(pack);
    if (known !== undefined) return known;
    const durable = packs[pack];
    if (durable === undefined) throw new PodferryError('INTERNAL', `pack ${pack} of a checkpoint was not stored`);
    numbers.set(pack, used.length);
    used.push(durable);
    return used.length - 1;
  };
  const extents = (list: readonly Extent[]): Extent[] => list.map((at) => ({ ...at, pack: numberOf(at.pack) }));
  return {
    images: images.map(({ name, at }) => ({ name, at: extents(at) })),
    pages: pages.map(({ kind, id, runs }) => ({ kind, id, runs: runs.renumbered(numberOf) })),
    archive: archive === undefined ? undefined : extents(archive),
    packs: used,
  };
}
