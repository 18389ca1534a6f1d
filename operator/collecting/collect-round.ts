import { PodferryError } from '../../proto/errors.ts';
import type { Log } from '../../proto/logging.ts';
import { listCheckpoints } from '../store/checkpoints.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { Living } from './living.ts';
import { findInstances, takeInventory, type LookOptions } from './look-into-store.ts';
import { isGone, planCollecting, type StoredInstance } from './plan-collecting.ts';

/** What one round asks of the store at most; it ends with the instance that reaches one of these. */
export interface RoundLimits {
  /** Answers of listings. */
  readonly pages: number;
  /** Objects removed. */
  readonly deletes: number;
}

export const roundLimits: RoundLimits = { pages: 2_000, deletes: 50_000 };

/** Instances with so many objects together are removed at once: each time the API server is asked twice. */
const objectsAtOnce = 10_000;

export interface RoundDeps {
  readonly objects: Pick<ObjectStore, 'pages' | 'delete'>;
  /** Of everything in the bucket; may be empty. */
  readonly prefix: string;
  /** How long the newest object of an instance that is gone is kept. */
  readonly ttlMs: number;
  /** Who lives by the caches, which may lag. */
  readonly cached: () => Living;
  /** Who lives in a namespace by the API server itself. @throws ApiError | PodferryError INTERNAL */
  readonly ask: (namespace: string) => Promise<Living>;
  readonly limits: RoundLimits;
  readonly log: Log;
}

/** How far the look through the whole store has got, over several rounds. When it is lost, it begins anew. */
export interface Pass {
  /** The last instance that is done with. */
  after: string;
  /** Objects and folders that are none of ours. */
  foreign: number;
  /** One of them. */
  example: string | undefined;
  /** The first that went wrong with some instances, while others went on. */
  failure: Error | undefined;
}

export const newPass = (): Pass => ({ after: '', foreign: 0, example: undefined, failure: undefined });

/**
 * Removes what instances that are gone have in the store. Of each the manifests go first; then the API server is asked again, and only when it still
 * knows nobody and no manifest is there, the rest. So whoever restores, and had a pod before it read the manifest, keeps every pack that this names, and
 * whoever comes later finds no manifest. Broken off anywhere, the next round finds what is left.
 * @param pass is brought up to date all the time
 * @returns whether the whole store was looked through
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED when the store cannot be looked through; the signal's reason
 */
export async function collectRound(d: RoundDeps, pass: Pass, signal: AbortSignal): Promise<boolean> {
  const cached = d.cached();
  if (pass.after === '') pass.foreign = 0;
  const metered = meter(d.objects, d.limits);
  const look: LookOptions = {
    objects: metered,
    signal,
    onForeign: (key) => {
      pass.foreign += 1;
      pass.example ??= key;
    },
  };
  let batch: StoredInstance[] = [];

  async function flush(after: string): Promise<void> {
    const [first] = batch;
    if (first !== undefined) {
      try {
        await removeInstances(batch, first.namespace, cached, { ...d, objects: metered }, signal);
      } catch (thrown) {
        pass.failure ??= ofSomeOnly(thrown, signal);
      }
    }
    batch = [];
    pass.after = after;
  }

  let last = pass.after;
  for await (const folder of findInstances(look, d.prefix, pass.after)) {
    const [first] = batch;
    if (first !== undefined && first.namespace !== folder.namespace) await flush(last);
    last = folder.keyPrefix;
    if (isGone(folder, cached)) {
      batch.push(...planCollecting([await takeInventory(look, folder, d.ttlMs)], [cached], d.ttlMs));
    }
    if (batch.length === 0 || sizeOf(batch) >= objectsAtOnce) await flush(last);
    if (metered.isSpent()) {
      await flush(last);
      return false;
    }
  }
  await flush(last);
  return true;
}

const sizeOf = (batch: readonly StoredInstance[]): number =>
  batch.reduce((sum, { manifests, others }) => sum + manifests.length + others.length, 0);

async function removeInstances(
  expired: readonly StoredInstance[],
  namespace: string,
  cached: Living,
  { objects, ask, ttlMs, log }: RoundDeps,
  signal: AbortSignal,
): Promise<void> {
  const gone = planCollecting(expired, [cached, await ask(namespace)], ttlMs);
  if (gone.length === 0) return;
  await removeAll(
    objects,
    gone.flatMap(({ manifests }) => manifests),
    signal,
  );
  for (const { keyPrefix, manifests, others } of planCollecting(gone, [await ask(namespace)], ttlMs)) {
    // Whoever came and went since it was listed may have left one that names packs of before.
    if ((await listCheckpoints(objects, keyPrefix, signal)).length > 0) continue;
    await removeAll(objects, others, signal);
    const counts = { checkpoints: manifests.length, objects: manifests.length + others.length };
    log.info('instance removed from the store', { keyPrefix, ...counts });
  }
}

async function removeAll(objects: RoundDeps['objects'], keys: readonly string[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (keys.length > 0) await objects.delete(keys, signal);
}

/** Of what went wrong with some instances: whether others are worth a try. @throws it, when not */
function ofSomeOnly(thrown: unknown, signal: AbortSignal): Error {
  const isOfAll = thrown instanceof PodferryError && ['STORE_UNREACHABLE', 'DEADLINE_EXCEEDED'].includes(thrown.code);
  if (signal.aborted || isOfAll || !(thrown instanceof Error)) throw thrown;
  return thrown;
}

/** The same store, counting. */
function meter(
  objects: RoundDeps['objects'],
  limits: RoundLimits,
): RoundDeps['objects'] & { readonly isSpent: () => boolean } {
  let pages = 0;
  let deletes = 0;
  return {
    async *pages(prefix, level, signal) {
      for await (const page of objects.pages(prefix, level, signal)) {
        pages += 1;
        yield page;
      }
    },
    async delete(keys, signal) {
      deletes += keys.length;
      await objects.delete(keys, signal);
    },
    isSpent: () => pages >= limits.pages || deletes >= limits.deletes,
  };
}
