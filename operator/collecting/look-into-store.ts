import { PodferryError } from '../../proto/errors.ts';
import { isFolder, levelsAboveObjects, objectKind, rootOf } from '../../proto/store-layout.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { InstanceFolder, StoredInstance } from './plan-collecting.ts';

/** Of one instance so many objects at most are kept in mind; what is left is found the next time. */
const maxOthers = 50_000;

export interface LookOptions {
  readonly objects: Pick<ObjectStore, 'pages'>;
  /** Told of each object or folder that has no place in the layout. */
  readonly onForeign: (key: string) => void;
  readonly signal: AbortSignal;
}

/**
 * The folders of all instances in the order of their keys, level by level, so that what is in them is not listed.
 * @param after folders up to this one are left out
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
 */
export async function* findInstances(
  options: LookOptions,
  prefix: string,
  after: string,
): AsyncGenerator<InstanceFolder, void, undefined> {
  async function* below(folder: string, names: readonly string[]): AsyncGenerator<InstanceFolder, void, undefined> {
    const level = names.length;
    const [namespace, , instance] = names;
    if (level === levelsAboveObjects && namespace !== undefined && instance !== undefined) {
      if (folder > after) yield { namespace, instance, keyPrefix: folder };
      return;
    }
    for (const child of await foldersIn(folder, options, after)) {
      const name = child.slice(folder.length, -1);
      if (!isFolder(level, name)) {
        if (child > after) options.onForeign(child);
      } else if (child > after || after.startsWith(child)) {
        yield* below(child, [...names, name]);
      }
    }
  }
  yield* below(rootOf(prefix), []);
}

async function foldersIn(folder: string, options: LookOptions, after: string): Promise<readonly string[]> {
  const { objects, onForeign, signal } = options;
  const found: string[] = [];
  const isGoneOnWith = after !== '' && after.startsWith(folder);
  for await (const page of objects.pages(folder, 'folder', signal)) {
    found.push(...page.folders);
    if (!isGoneOnWith) for (const { key } of page.objects) onForeign(key);
  }
  // Directory buckets list in no order.
  return found.toSorted((a, b) => (a < b ? -1 : 1));
}

/**
 * Lists what an instance has stored; no further than to the first page with something that is not older than `ttlMs`.
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED (also: the store does not say what time it is)
 */
export async function takeInventory(
  options: LookOptions,
  folder: InstanceFolder,
  ttlMs: number,
): Promise<StoredInstance> {
  const { objects, onForeign, signal } = options;
  const { keyPrefix } = folder;
  const manifests: string[] = [];
  const others: string[] = [];
  let newestMs = 0;
  let listedMs: number | undefined;
  for await (const page of objects.pages(keyPrefix, 'all', signal)) {
    listedMs ??= page.atMs;
    if (listedMs === undefined) {
      throw new PodferryError('STORE_READ_FAILED', `listing ${keyPrefix}: the answer has no date`, { keyPrefix });
    }
    for (const { key, modifiedMs } of page.objects) {
      // Without a time it may be of this moment.
      newestMs = Math.max(newestMs, modifiedMs > 0 ? modifiedMs : Number.POSITIVE_INFINITY);
      const kind = objectKind(key.slice(keyPrefix.length));
      if (kind === undefined) onForeign(key);
      else if (kind === 'manifest') manifests.push(key);
      else if (others.length < maxOthers) others.push(key);
    }
    if (listedMs - newestMs <= ttlMs) break;
  }
  return { ...folder, manifests, others, newestMs, listedMs: listedMs ?? 0 };
}
