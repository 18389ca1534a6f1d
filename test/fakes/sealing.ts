import { randomBytes } from 'node:crypto';
import { marginBytes } from '../../agent/store/buffer-pool.ts';
import { packKey, packName, sealPack } from '../../agent/store/frames.ts';
import type { Pack } from '../../agent/store/manifest.ts';
import type { Sealing } from '../../agent/store/sealing.ts';
import { keyBytes } from '../../proto/keys.ts';
import type { MemoryStore } from './store.ts';

/** The sealing of an instance under a key that is made anew each time. */
export function sealingFor(instance: string): Sealing {
  return { instance, id: 'test-key', key: randomBytes(keyBytes) };
}

/** Puts a pack with the given content into a store, as an upload would. */
export function storePack(store: MemoryStore, sealing: Sealing, key: string, content: Buffer): Pack {
  const whole = Buffer.concat([Buffer.alloc(marginBytes), content]);
  const { frames, bytes, sha256 } = sealPack(packKey(sealing, packName(key)), whole, marginBytes, content.byteLength);
  store.objects.set(key, Buffer.from(whole.subarray(0, bytes)));
  return { key, bytes: content.byteLength, frames: [...frames], sha256 };
}
