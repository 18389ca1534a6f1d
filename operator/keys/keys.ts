import { createHmac } from 'node:crypto';
import { dataKeyOf, keyIdOf } from '../../proto/keys.ts';

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
  return {
    id: keyIdOf(master),
    dataKey: (instance) => dataKeyOf(master, instance),
    moveSecret: (migrationUid, attempt) =>
      createHmac('sha256', master).update(`podferry move/${migrationUid}/${attempt}`).digest(),
  };
}
