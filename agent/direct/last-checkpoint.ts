import type { StoredObject } from '../../proto/s3/list.ts';
import { checkpointsBelow, placeOfManifest } from '../../proto/store-layout.ts';
import { maxManifestBytes, sealedBytes, type Manifest } from '../store/manifest.ts';
import { parseManifestAt } from '../store/read-manifest.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';

/** An object that is worth having. */
export type NamedObject = Pick<StoredObject, 'key' | 'bytes'>;

/**
 * The packs in which the newest checkpoint of an instance has the memory of its processes, as a restore needs them one after the other: of what the next
 * checkpoint will name all but what changes until then. Empty when there is none.
 * @param keyPrefix of the instance
 * @throws PodferryError as readManifest, and STORE_*
 */
export async function packsOfLast(
  store: Store,
  keyPrefix: string,
  sealing: Sealing,
  signal: AbortSignal,
): Promise<readonly NamedObject[]> {
  let newest: StoredObject | undefined;
  for await (const object of store.list(checkpointsBelow(keyPrefix), signal)) {
    if (placeOfManifest(object.key) === undefined) continue;
    if (newest === undefined || object.modifiedMs > newest.modifiedMs) newest = object;
  }
  if (newest === undefined) return [];
  return packsOf(parseManifestAt(newest.key, await store.get(newest.key, maxManifestBytes, signal), sealing));
}

/** Pure. */
function packsOf({ pages, packs }: Manifest): NamedObject[] {
  const used = new Set<number>();
  for (const { runs } of pages) {
    for (let i = 0; i < runs.length; i += 1) if (runs.comesLater(i)) used.add(runs.pack(i));
  }
  // A set keeps the order in which its members came.
  return [...used].flatMap((index) => {
    const pack = packs[index];
    return pack === undefined ? [] : [{ key: pack.key, bytes: sealedBytes(pack) }];
  });
}
