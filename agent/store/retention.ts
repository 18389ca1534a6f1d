/** How long checkpoints are kept. The newest one of an instance is always kept. */
export interface RetentionPolicy {
  /** Older ones go. */
  readonly ttlMs: number;
  /** Of more than this many the oldest go. */
  readonly count: number;
  /** How many checkpoints back a kept one may reach: one that goes on using packs of an older one is to be replaced by a full one. */
  readonly depth: number;
  /** Packs that no manifest names, and logs of no checkpoint, are left alone for this long: their manifest may still be to come. */
  readonly graceMs: number;
}

/** A checkpoint that exists. */
export interface LiveCheckpoint {
  readonly id: string;
  readonly manifestKey: string;
  /** When the store got its manifest, by the store's clock: the agents that took them may disagree on the time. */
  readonly storedMs: number;
  /** By the clock of the agent that took it; orders those that were stored at the same time. */
  readonly takenMs: number;
  /** Object keys of all packs that it names. */
  readonly packs: readonly string[];
}

export interface StoredPack {
  readonly key: string;
  /** By the store's clock. */
  readonly modifiedMs: number;
}

export interface StoredLog extends StoredPack {
  /** Id of the checkpoint beside which it lies. */
  readonly checkpoint: string;
}

export interface Garbage {
  /** Checkpoints that stay. */
  readonly kept: readonly LiveCheckpoint[];
  /** Checkpoints that go: these manifests are removed first. */
  readonly checkpoints: readonly LiveCheckpoint[];
  /** Packs that nothing names once those are gone: removed when no manifest of `checkpoints` is left. */
  readonly packs: readonly string[];
  /** Logs beside those that go, or beside none. */
  readonly logs: readonly string[];
  /** Kept checkpoints that name packs more than `depth` checkpoints old: the next one should store them anew. */
  readonly tooDeep: readonly LiveCheckpoint[];
}

const byAge = (a: LiveCheckpoint, b: LiveCheckpoint): number =>
  b.storedMs - a.storedMs || b.takenMs - a.takenMs || (a.id < b.id ? 1 : -1);

/** How many checkpoints back the oldest pack of this one was stored first; 0: it stands alone. Seen from those that still exist. */
function depthOf(checkpoint: LiveCheckpoint, newestFirst: readonly LiveCheckpoint[]): number {
  const packs = new Set(checkpoint.packs);
  const older = newestFirst.slice(newestFirst.indexOf(checkpoint) + 1);
  return older.findLastIndex((other) => other.packs.some((pack) => packs.has(pack))) + 1;
}

/**
 * Decides what of one instance is not needed any more. A pack that a kept checkpoint names is never among it, whatever the ages.
 * @param checkpoints all that exist, of this instance alone
 * @param nowMs by the store's clock
 * @param pinned ids that are in use: what a restore reads, and the parent of a checkpoint under way unless that is the newest one
 */
export function findGarbage(
  checkpoints: readonly LiveCheckpoint[],
  packs: readonly StoredPack[],
  policy: RetentionPolicy,
  nowMs: number,
  pinned: ReadonlySet<string> = new Set(),
  logs: readonly StoredLog[] = [],
): Garbage {
  const newestFirst = checkpoints.toSorted(byAge);
  const isKept = (checkpoint: LiveCheckpoint, place: number): boolean =>
    place === 0 || pinned.has(checkpoint.id) || (place < policy.count && nowMs - checkpoint.storedMs <= policy.ttlMs);
  const kept = newestFirst.filter(isKept);
  const named = new Set(kept.flatMap((checkpoint) => checkpoint.packs));
  const goes = newestFirst.filter((checkpoint) => !kept.includes(checkpoint));
  // Those of a checkpoint that goes were complete once; only what nobody ever named may belong to an upload under way.
  const wasNamed = new Set(goes.flatMap((checkpoint) => checkpoint.packs));
  const isOld = ({ modifiedMs }: StoredPack): boolean => nowMs - modifiedMs > policy.graceMs;
  const [keptIds, goneIds] = [new Set(kept.map(({ id }) => id)), new Set(goes.map(({ id }) => id))];
  return {
    kept,
    checkpoints: goes,
    packs: packs
      .filter((pack) => !named.has(pack.key) && (wasNamed.has(pack.key) || isOld(pack)))
      .map(({ key }) => key),
    logs: logs
      .filter((log) => goneIds.has(log.checkpoint) || (!keptIds.has(log.checkpoint) && isOld(log)))
      .map(({ key }) => key),
    tooDeep: kept.filter((checkpoint) => depthOf(checkpoint, newestFirst) > policy.depth),
  };
}
