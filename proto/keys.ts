import { createHmac, hkdfSync } from 'node:crypto';
import { PodferryError } from './errors.ts';

/** Of the master key and of every data key. */
export const keyBytes = 32;

/**
 * What the checkpoints of an instance are sealed with: FORMAT.md.
 * @throws PodferryError CONFIG_INVALID when this is no master key
 */
export function dataKeyOf(master: Buffer, instance: string): Buffer {
  checkMaster(master);
  return Buffer.from(hkdfSync('sha256', master, '', `podferry data key/${instance}`, keyBytes));
}

/**
 * Names a master key, and all data keys that follow from it, and tells nothing of it.
 * @throws PodferryError CONFIG_INVALID when this is no master key
 */
export function keyIdOf(master: Buffer): string {
  checkMaster(master);
  return createHmac('sha256', master).update('podferry key id').digest('hex').slice(0, 12);
}

function checkMaster(master: Buffer): void {
  if (master.byteLength === keyBytes) return;
  throw new PodferryError('CONFIG_INVALID', `the master key has ${master.byteLength} bytes instead of ${keyBytes}`);
}
