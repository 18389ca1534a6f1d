import type { Store } from '../../proto/gen/agent/v1/agent.ts';
import { createS3Client, defaultTimeouts } from '../../proto/s3/client.ts';
import { deletesOf } from '../../proto/s3/delete.ts';
import { listPages, type ListPage } from '../../proto/s3/list.ts';

/** What the operator does with the object store. Every call ends by its own time-outs or by its signal; then it rejects with the signal's reason. */
export interface ObjectStore {
  /**
   * All objects whose keys begin with `prefix`, or, by folder, the objects and folders directly below it.
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
   */
  pages(prefix: string, level: 'all' | 'folder', signal: AbortSignal): AsyncIterable<ListPage>;
  /**
   * Removes objects; those that are not there count as removed.
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_WRITE_FAILED; some may be gone by then
   */
  delete(keys: readonly string[], signal: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * The store, with the operator's own credentials. Connections are made on first use.
 * @returns undefined for a store of type file: agents' nodes have its folder, the operator's has not
 */
export function openObjectStore(settings: Store): ObjectStore | undefined {
  if (settings.type === 'file') return undefined;
  const client = createS3Client(settings, defaultTimeouts);
  const remove = deletesOf(settings);
  return {
    pages: (prefix, level, signal) => listPages(client, settings.bucket, prefix, signal, level),
    delete: async (keys, signal) => remove(client, settings.bucket, keys, signal),
    close: () => client.destroy(),
  };
}
