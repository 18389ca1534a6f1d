import type { Store } from '../store/store.ts';
import type { NamedObject } from './last-checkpoint.ts';

export interface ConnectOptions {
  /** How long an object that the store has already may wait for its turn. */
  readonly patienceMs?: number;
  /** The freeze begins: the target shall read nothing ahead any more, it would only be in the way. */
  readonly isFreezing?: boolean;
}

export type FindObjects = (store: Store, signal: AbortSignal) => Promise<readonly NamedObject[]>;

/**
 * The connection between the agents of a move: what the source stores it also sends to the target, which keeps it in memory
 * and so restores without asking the store. Nothing depends on it but speed: whatever did not arrive is read from the store.
 */
export interface DirectLinks {
  /** Target: listens for the source of this move; a second call with the same secret gives the same port. @throws PodferryError DIRECT_FAILED */
  listen(secret: Uint8Array): Promise<number>;
  /**
   * Target: until the freeze, also takes ahead what appears in the store under this prefix and does not come directly.
   * @param find says what of the store is worth having besides, the most wanted first
   */
  warm(prefix: string, find?: FindObjects): Promise<void>;
  /** Source: connects to the target of this move. @throws PodferryError DIRECT_FAILED */
  connect(host: string, port: number, secret: Uint8Array, options?: ConnectOptions): Promise<void>;
  /** Where the target listens; 0: nowhere. */
  readonly port: number;
  /** Bytes sent or received in the move under way. */
  readonly bytes: number;
  /** The store as a source writes to it (objects also go to the target) and as a target reads from it (memory first). */
  over(store: Store): Store;
  /** Ends the connection and forgets what it brought. */
  close(): void;
}

/** For a pod that has no connection. */
export const noLinks: DirectLinks = {
  listen: async () => 0,
  warm: async () => undefined,
  connect: async () => undefined,
  port: 0,
  bytes: 0,
  over: (store) => store,
  close: () => undefined,
};
