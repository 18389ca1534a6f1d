import type { FileEntry, FileListing } from './listing.ts';

/** Paths are those of the listings. */
export interface FileChanges {
  /** New or different; a directory before what is in it. */
  readonly changed: readonly string[];
  /** To be removed before the changed ones are put in place; what is in a directory before the directory. */
  readonly deleted: readonly string[];
  /** Size of the changed regular files. */
  readonly bytes: number;
}

/**
 * What the container has in `now` and not, or otherwise, in `baseline`. Sockets are left out: their processes make them
 * anew. A path whose kind changed is deleted and changed.
 */
export function changesSince(baseline: FileListing, now: FileListing): FileChanges {
  const changed: string[] = [];
  const deleted: string[] = [];
  let bytes = 0;
  for (const [path, entry] of now) {
    const before = baseline.get(path);
    if (before !== undefined && before.kind !== entry.kind) deleted.push(path);
    if (entry.kind === 's' || (before !== undefined && isSame(before, entry))) continue;
    changed.push(path);
    if (entry.kind === 'f') bytes += entry.bytes;
  }
  for (const path of baseline.keys()) if (!now.has(path)) deleted.push(path);
  // A path is longer than that of the directory it is in, so descending order puts it first.
  deleted.sort((a, b) => (a < b ? 1 : -1));
  return { changed, deleted, bytes };
}

function isSame(a: FileEntry, b: FileEntry): boolean {
  return a.kind === b.kind && a.bytes === b.bytes && a.stamp === b.stamp;
}
