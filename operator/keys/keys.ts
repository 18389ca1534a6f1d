import { createHmac, hkdfSync } from 'node:crypto';
import { PodferryError } from '../../proto/errors.ts';

export const keyBytes = 32;

/** What follows from the master key: the same in every replica of the operator, and after every restart. */
export interface Keys {
  /** Names the master key, and tells nothing of it. */
  readonly id: string;
  /** What the checkpoints of an instance are sealed with. */
  dataKey(instance: string): Buffer;
  /** What only the two agents of one attempt of a move are given. */
  moveSecret(migrationUid: string, attempt: number): Buffer;
}

/** @throws PodferryError CONFIG_INVALID when this is no key */
export function createKeys(master: Buffer): Keys {
  if (master.byteLength !== keyBytes) {
    throw new PodferryError('CONFIG_INVALID', `the master key has ${master.byteLength} bytes instead of ${keyBytes}`);
  }
  const hmac = (text: string): Buffer => createHmac('sha256', master).update(text).digest();
  return {
    id: hmac('podferry key id').toString('hex').slice(0, 12),
    dataKey: (instance) => Buffer.from(hkdfSync('sha256', master, '', `podferry data key/${instance}`, keyBytes)),
    moveSecret: (migrationUid, attempt) => hmac(`podferry move/${migrationUid}/${attempt}`),
  };
}
