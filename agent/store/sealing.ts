import { hkdfSync } from 'node:crypto';
import type { Welcome } from '../../proto/gen/agent/v1/agent.ts';
import { PodferryError } from '../../proto/errors.ts';
import { keyBytes } from '../../proto/keys.ts';

/** What the checkpoints of an instance are sealed with. */
export interface Sealing {
  readonly instance: string;
  /** Names the key in manifests. */
  readonly id: string;
  /** The instance's data key, 32 bytes. It seals nothing itself: see subkey. */
  readonly key: Buffer;
}

/** Of packs and manifests alike: FORMAT.md. */
export const formatVersion = 2;

/**
 * The sealing of the instance that the operator named.
 * @throws PodferryError CONFIG_INVALID when the operator gave no usable key
 */
export function sealingOf({ instance, dataKey, keyId }: Pick<Welcome, 'instance' | 'dataKey' | 'keyId'>): Sealing {
  if (dataKey.byteLength !== keyBytes || keyId === '' || instance === '') {
    throw new PodferryError(
      'CONFIG_INVALID',
      `the operator gave ${dataKey.byteLength} bytes of data key "${keyId}" for instance "${instance}"; ${keyBytes} and both names are needed`,
    );
  }
  return { instance, id: keyId, key: Buffer.from(dataKey) };
}

type Purpose = 'pack' | 'manifest' | 'log' | 'key check';

/** A key for one purpose and one salt; only this instance has it. HKDF-SHA256, see FORMAT.md. */
export function subkey({ key, instance }: Sealing, purpose: Purpose, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, `podferry ${formatVersion} ${purpose}\0${instance}`, keyBytes));
}

/** Tells one data key from another and says nothing about it. */
export function keyCheck(sealing: Sealing): string {
  return subkey(sealing, 'key check', Buffer.alloc(0)).subarray(0, 8).toString('hex');
}
