import type { StoredObject } from '../../proto/s3/list.ts';

/** Options of a write. */
export interface WriteOptions {
  /** Hex SHA-256 of the body; the store's server refuses other bytes. */
  readonly sha256: string;
  readonly signal: AbortSignal;
}

/**
 * What a checkpoint needs of an object store. Keys are whole, without a leading slash.
 * Every call ends by its own time-outs or by its signal; then it rejects with the signal's reason.
 */
export interface Store {
  /**
   * Writes one object; durable when resolved.
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_WRITE_FAILED
   */
  put(key: string, body: Uint8Array, options: WriteOptions): Promise<void>;

  /**
   * As put, but an object that exists is never replaced: with the same bytes the call succeeds, with others it is refused.
   * @throws PodferryError as put; STORE_WRITE_FAILED when the key is taken
   */
  putOnce(key: string, body: Uint8Array, options: WriteOptions): Promise<void>;

  /**
   * Reads an object of known size into the start of `target`, with no other copy of it in memory.
   * @param bytes the size it must have, at most target's
   * @throws PodferryError OBJECT_MISSING | OBJECT_CORRUPT (another size) | STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
   */
  read(key: string, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void>;

  /** The whole object, now, if this store happens to have it in memory: not to be changed. */
  held?(key: string): Buffer | undefined;

  /** Whether this store has the object in memory because the source of a move has sent it. */
  isDirect?(key: string): boolean;

  /**
   * Reads a small object whole.
   * @throws PodferryError as read; OBJECT_CORRUPT when it is larger than maxBytes
   */
  get(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array>;

  /**
   * Reads part of an object into the start of `target`.
   * @throws PodferryError as read; OBJECT_CORRUPT when the object ends before `offset + bytes`
   */
  readRange(key: string, offset: number, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void>;

  /**
   * All objects whose keys begin with `prefix`, in no particular order.
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
   */
  list(prefix: string, signal: AbortSignal): AsyncIterable<StoredObject>;

  /**
   * Removes objects; those that are not there count as removed.
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_WRITE_FAILED; some may be gone by then
   */
  delete(keys: readonly string[], signal: AbortSignal): Promise<void>;
}
