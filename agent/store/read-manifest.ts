import { PodferryError } from '../../proto/errors.ts';
import { placeOfManifest } from '../../proto/store-layout.ts';
import { maxManifestBytes, parseManifest, sha256Hex, type CheckpointRef, type Manifest } from './manifest.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

/**
 * Opens a manifest that was found under a key, which must be that of its checkpoint: another one's, put in its place, opens just as well.
 * @throws PodferryError as parseManifest
 */
export function parseManifestAt(key: string, bytes: Uint8Array, sealing: Sealing): Manifest {
  const manifest = parseManifest(bytes, sealing, key);
  const { checkpoint } = manifest;
  if (placeOfManifest(key)?.checkpoint !== checkpoint) {
    throw new PodferryError('MANIFEST_INVALID', `${key} is of another checkpoint, ${checkpoint}`, { key, checkpoint });
  }
  return manifest;
}

/**
 * Reads the manifest that a reference points at.
 * @throws PodferryError OBJECT_MISSING | OBJECT_CORRUPT | KEY_WRONG | MANIFEST_INVALID (also: of another checkpoint or instance) | STORE_*
 */
export async function readManifest(
  store: Store,
  { id, manifestKey, manifestSha256 }: CheckpointRef,
  sealing: Sealing,
  signal: AbortSignal,
): Promise<Manifest> {
  const bytes = await store.get(manifestKey, maxManifestBytes, signal);
  if (sha256Hex(bytes) !== manifestSha256) {
    throw new PodferryError('OBJECT_CORRUPT', `${manifestKey} is not what was stored`, { key: manifestKey });
  }
  const manifest = parseManifest(bytes, sealing, manifestKey);
  if (manifest.checkpoint !== id) {
    const { checkpoint } = manifest;
    throw new PodferryError('MANIFEST_INVALID', `${manifestKey} is of another checkpoint, ${checkpoint}`, {
      checkpoint,
    });
  }
  return manifest;
}
