import { maxManifestBytes } from './manifest.ts';
import { parseManifestAt } from './read-manifest.ts';
import { findGarbage, type Garbage, type LiveCheckpoint, type RetentionPolicy, type StoredPack } from './retention.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

export interface CollectOptions {
  readonly store: Store;
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly sealing: Sealing;
  readonly policy: RetentionPolicy;
  readonly nowMs: number;
  /** Ids of checkpoints in use: see findGarbage. */
  readonly pinned?: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/**
 * Reads every manifest of an instance. One that cannot be read may name any pack, so then nothing may be removed.
 * @throws PodferryError of the first manifest that cannot be read
 */
export async function readCheckpoints(
  options: Pick<CollectOptions, 'store' | 'keyPrefix' | 'sealing' | 'signal'>,
): Promise<LiveCheckpoint[]> {
  const { store, keyPrefix, sealing, signal } = options;
  const checkpoints: LiveCheckpoint[] = [];
  for await (const { key, modifiedMs } of store.list(`${keyPrefix}checkpoints/`, signal)) {
    if (!key.endsWith('/manifest')) continue;
    const manifest = parseManifestAt(key, await store.get(key, maxManifestBytes, signal), sealing);
    checkpoints.push({
      id: manifest.checkpoint,
      manifestKey: key,
      takenMs: manifest.takenMs ?? modifiedMs,
      packs: manifest.packs.map((pack) => pack.key),
    });
  }
  return checkpoints;
}

/**
 * Removes what the policy lets go of one instance: first manifests, then packs, so that at every moment each manifest is complete. Broken off
 * anywhere, the next run finds the rest.
 * @returns what was removed
 * @throws PodferryError OBJECT_CORRUPT | KEY_WRONG | MANIFEST_INVALID | STORE_*; some of it may be gone by then
 */
export async function collectGarbage(options: CollectOptions): Promise<Garbage> {
  const { store, keyPrefix, policy, nowMs, pinned, signal } = options;
  // Packs before manifests: a checkpoint that is completed in between names packs that are listed, never the other way round.
  const packs: StoredPack[] = [];
  for await (const { key, modifiedMs } of store.list(`${keyPrefix}packs/`, signal)) packs.push({ key, modifiedMs });
  const garbage = findGarbage(await readCheckpoints(options), packs, policy, nowMs, pinned);
  const manifests = garbage.checkpoints.map(({ manifestKey }) => manifestKey);
  if (manifests.length > 0) await store.delete(manifests, signal);
  if (garbage.packs.length === 0) return garbage;
  // Somebody may have completed a checkpoint meanwhile.
  const named = new Set((await readCheckpoints(options)).flatMap((checkpoint) => checkpoint.packs));
  const unnamed = garbage.packs.filter((key) => !named.has(key));
  await store.delete(unnamed, signal);
  return { ...garbage, packs: unnamed };
}
