import { PodferryError } from '../../proto/errors.ts';
import { checkpointsBelow, markOf, packsBelow, placeOfLog, placeOfManifest } from '../../proto/store-layout.ts';
import { maxManifestBytes, sha256Hex } from './manifest.ts';
import { parseManifestAt } from './read-manifest.ts';
import {
  findGarbage,
  type Garbage,
  type LiveCheckpoint,
  type RetentionPolicy,
  type StoredLog,
  type StoredPack,
} from './retention.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

/** What the mark holds; its time is all that matters. */
const markText = 'podferry\n';

export interface CollectOptions {
  readonly store: Store;
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly sealing: Sealing;
  readonly policy: RetentionPolicy;
  /** By the store's clock: see storeTime. */
  readonly nowMs: number;
  /** Ids of checkpoints in use: see findGarbage. */
  readonly pinned?: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/**
 * What the store's clock says: it makes every decision on age alone, since clocks of nodes may be wrong by any amount. Asked by writing a mark,
 * which tells a person when garbage was collected last, too.
 * @throws PodferryError STORE_*
 */
export async function storeTime(store: Store, keyPrefix: string, signal: AbortSignal): Promise<number> {
  const key = markOf(keyPrefix);
  const body = Buffer.from(markText);
  await store.put(key, body, { sha256: sha256Hex(body), signal });
  for await (const found of store.list(key, signal)) if (found.key === key) return found.modifiedMs;
  throw new PodferryError('STORE_READ_FAILED', `the store does not list ${key}, which was just written`, { key });
}

/**
 * Reads every manifest of an instance. One that cannot be read may name any pack, so then nothing may be removed.
 * @param known read before: a manifest is written once
 * @throws PodferryError of the first manifest that cannot be read
 */
export async function readCheckpoints(
  options: Pick<CollectOptions, 'store' | 'keyPrefix' | 'sealing' | 'signal'>,
  known: readonly LiveCheckpoint[] = [],
): Promise<LiveCheckpoint[]> {
  const { store, keyPrefix, sealing, signal } = options;
  const checkpoints: LiveCheckpoint[] = [];
  for await (const { key, modifiedMs } of store.list(checkpointsBelow(keyPrefix), signal)) {
    if (placeOfManifest(key) === undefined) continue;
    const before = known.find((checkpoint) => checkpoint.manifestKey === key && checkpoint.storedMs === modifiedMs);
    if (before !== undefined) {
      checkpoints.push(before);
      continue;
    }
    const manifest = parseManifestAt(key, await store.get(key, maxManifestBytes, signal), sealing);
    checkpoints.push({
      id: manifest.checkpoint,
      manifestKey: key,
      storedMs: modifiedMs,
      takenMs: manifest.takenMs ?? modifiedMs,
      packs: manifest.packs.map((pack) => pack.key),
    });
  }
  return checkpoints;
}

/**
 * Removes what the policy lets go of one instance: first manifests, then their logs and packs, so that at every moment each manifest is complete. Broken off
 * anywhere, the next run finds the rest.
 * @returns what was removed
 * @throws PodferryError OBJECT_CORRUPT | KEY_WRONG | MANIFEST_INVALID | STORE_*; some of it may be gone by then
 */
export async function collectGarbage(options: CollectOptions): Promise<Garbage> {
  const { store, keyPrefix, policy, nowMs, pinned, signal } = options;
  // Packs before manifests: a checkpoint that is completed in between names packs that are listed, never the other way round.
  const packs: StoredPack[] = [];
  for await (const { key, modifiedMs } of store.list(packsBelow(keyPrefix), signal)) packs.push({ key, modifiedMs });
  // So, too, logs: they are put when their manifest is there.
  const logs: StoredLog[] = [];
  for await (const { key, modifiedMs } of store.list(checkpointsBelow(keyPrefix), signal)) {
    const checkpoint = placeOfLog(key)?.checkpoint;
    if (checkpoint !== undefined) logs.push({ key, modifiedMs, checkpoint });
  }
  const checkpoints = await readCheckpoints(options);
  const garbage = findGarbage(checkpoints, packs, policy, nowMs, pinned, logs);
  const manifests = garbage.checkpoints.map(({ manifestKey }) => manifestKey);
  if (manifests.length > 0) await store.delete(manifests, signal);
  if (garbage.logs.length > 0) await store.delete(garbage.logs, signal);
  if (garbage.packs.length === 0) return garbage;
  // Somebody may have completed a checkpoint meanwhile.
  const named = new Set((await readCheckpoints(options, checkpoints)).flatMap((checkpoint) => checkpoint.packs));
  const unnamed = garbage.packs.filter((key) => !named.has(key));
  await store.delete(unnamed, signal);
  return { ...garbage, packs: unnamed };
}
