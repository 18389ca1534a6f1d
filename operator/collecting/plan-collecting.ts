import type { Living } from './living.ts';

/** Where an instance keeps its checkpoints. */
export interface InstanceFolder {
  readonly namespace: string;
  readonly instance: string;
  /** Ends in a slash. */
  readonly keyPrefix: string;
}

/** What is below it, as far as it is ours: whole keys. */
export interface StoredInstance extends InstanceFolder {
  /** A checkpoint exists as long as its manifest does. */
  readonly manifests: readonly string[];
  /** Packs, logs and marks. */
  readonly others: readonly string[];
  /** When the newest of all objects was written; those that are not ours count, too. */
  readonly newestMs: number;
  /** When they were listed, by the same clock of the store. */
  readonly listedMs: number;
}

/** Whether nobody in the cluster has to do with the instance, as far as this view goes. */
export function isGone({ namespace, instance }: InstanceFolder, { instances, unclear }: Living): boolean {
  return !instances.has(instance) && !unclear.has(namespace);
}

/** Whether nothing of an instance was written for so long. By the store's clock: clocks of nodes may be wrong by any amount. */
const isExpired = ({ newestMs, listedMs }: StoredInstance, ttlMs: number): boolean => listedMs - newestMs > ttlMs;

/**
 * Decides which instances go, whole: those that are gone in every view, and of which nothing is younger than the time that checkpoints are kept.
 * @param views of the cluster; at least one must have been asked for after the instances were listed
 */
export function planCollecting(
  stored: readonly StoredInstance[],
  views: readonly Living[],
  ttlMs: number,
): readonly StoredInstance[] {
  return stored.filter(
    (instance) =>
      views.every((living) => isGone(instance, living)) &&
      isExpired(instance, ttlMs) &&
      instance.manifests.length + instance.others.length > 0,
  );
}
