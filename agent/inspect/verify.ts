import { PodferryError, toPodferryError } from '../../proto/errors.ts';
import { framesOf, openFrame, packKey, packName, rawBytesOfFrame } from '../store/frames.ts';
import { packBytes, sealedBytes, sha256Hex, type Pack } from '../store/manifest.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';
import type { KeyFor } from './keys.ts';
import { openCheckpoint } from './open.ts';

/** What is wrong with an object. */
export interface Finding {
  readonly key: string;
  readonly code: string;
  readonly message: string;
}

const finding = (key: string, error: unknown): Finding => {
  const { code, message } = toPodferryError(error, `verify of ${key}`);
  return { key, code, message };
};

/** Opens every frame of a pack. @throws PodferryError of the first thing that is wrong */
async function verifyPack(store: Store, pack: Pack, sealing: Sealing, signal: AbortSignal): Promise<void> {
  const { key } = pack;
  const bytes = sealedBytes(pack);
  const sealed = Buffer.alloc(bytes);
  await store.read(key, sealed, bytes, signal);
  const target = Buffer.alloc(Math.min(pack.bytes, packBytes));
  let at = 0;
  for (let frame = 0; frame < framesOf(pack.bytes); frame += 1) {
    const end = at + (pack.frames[frame] ?? 0);
    const rawBytes = rawBytesOfFrame(pack.bytes, frame);
    if (!openFrame(packKey(sealing, packName(key)), frame, sealed.subarray(at, end), rawBytes, target)) {
      throw new PodferryError(
        'OBJECT_CORRUPT',
        `frame ${frame} of ${key} (bytes ${at}-${end - 1}) is not what was stored`,
      );
    }
    at = end;
  }
  if (sha256Hex(sealed) !== pack.sha256) {
    throw new PodferryError('OBJECT_CORRUPT', `${key} opens, but its digest is not the manifest's`);
  }
}

/** Everything that is wrong with a checkpoint; nothing when it can be restored. */
export async function verifyCheckpoint(
  store: Store,
  manifestKey: string,
  keyFor: KeyFor,
  signal: AbortSignal,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    const { manifest, sealing } = await openCheckpoint(store, manifestKey, keyFor, signal);
    for (const pack of manifest.packs) {
      await verifyPack(store, pack, sealing, signal).catch((error: unknown) => findings.push(finding(pack.key, error)));
    }
  } catch (error) {
    findings.push(finding(manifestKey, error));
  }
  signal.throwIfAborted();
  return findings;
}
