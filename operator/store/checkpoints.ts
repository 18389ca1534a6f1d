import { PodferryError } from '../../proto/errors.ts';
import { checkpointsBelow, manifestKeyOf, objectKind, placeOfManifest } from '../../proto/store-layout.ts';
import type { CheckpointPlace } from '../../proto/store-layout.ts';
import type { ObjectStore } from './object-store.ts';

/** A checkpoint that exists: one whose manifest is there. */
export interface StoredCheckpoint extends CheckpointPlace {
  /** By the store's clock. */
  readonly storedMs: number;
}

/**
 * The checkpoints that an instance has, newest first.
 * @param keyPrefix of the instance: see instancePrefix
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
 */
export async function listCheckpoints(
  objects: Pick<ObjectStore, 'pages'>,
  keyPrefix: string,
  signal: AbortSignal,
): Promise<readonly StoredCheckpoint[]> {
  const found: StoredCheckpoint[] = [];
  for await (const page of objects.pages(checkpointsBelow(keyPrefix), 'all', signal)) {
    for (const { key, modifiedMs } of page.objects) {
      const place = placeOfManifest(key);
      if (place?.keyPrefix === keyPrefix) found.push({ ...place, storedMs: modifiedMs });
    }
  }
  return found.toSorted((a, b) => b.storedMs - a.storedMs || (a.checkpoint < b.checkpoint ? 1 : -1));
}

/**
 * Makes that a checkpoint does not exist any more: its manifest goes, and asked twice, nothing happens the second time. Its packs and logs go when
 * the instance's agent collects garbage, or with the instance. To be asked only for one that no unfinished Migration names: a restore needs its manifest.
 * @throws PodferryError INTERNAL when there can be no such checkpoint; STORE_UNREACHABLE | STORE_DENIED | STORE_WRITE_FAILED
 */
export async function releaseCheckpoint(
  objects: Pick<ObjectStore, 'delete'>,
  place: CheckpointPlace,
  signal: AbortSignal,
): Promise<void> {
  const key = manifestKeyOf(place);
  if (!place.keyPrefix.endsWith('/') || objectKind(key.slice(place.keyPrefix.length)) !== 'manifest') {
    throw new PodferryError('INTERNAL', `${key} is no place of a checkpoint`, { key });
  }
  await objects.delete([key], signal);
}
