/** A map that forgets what was not asked for the longest time once it is full, and what is older than it may be. */
export interface BoundedMap<V> {
  get(key: string): V | undefined;
  /** @param lifeMs how long it is kept at most */
  set(key: string, value: V, lifeMs?: number): void;
}

export function createBoundedMap<V>(most: number, now: () => number): BoundedMap<V> {
  const entries = new Map<string, { readonly value: V; readonly untilMs: number }>();
  return {
    get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      if (entry.untilMs <= now()) return undefined;
      entries.set(key, entry);
      return entry.value;
    },
    set(key, value, lifeMs = Infinity) {
      entries.delete(key);
      entries.set(key, { value, untilMs: now() + lifeMs });
      const [oldest] = entries.keys();
      if (entries.size > most && oldest !== undefined) entries.delete(oldest);
    },
  };
}
