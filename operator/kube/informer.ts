import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { KubeClient } from './client.ts';
import { isGone } from './errors.ts';
import { keyOf, type Key, type KubeObject } from './objects.ts';

export interface InformerOptions {
  readonly client: KubeClient;
  /** Collection to list and watch. */
  readonly path: string;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
  /** Without a word of the server for this long a watch is begun anew. */
  readonly idleMs?: number;
  /** Upper bound of the pause after the first failure; it grows to 30 times this. */
  readonly pauseMs?: number;
}

/** What readers of a cache see. */
export interface Cache<T extends KubeObject> {
  get(key: Key): T | undefined;
  /** By uid; an object that was replaced by one of the same name is not found. */
  byUid(uid: string): T | undefined;
  list(): Iterable<T>;
}

export interface Informer<T extends KubeObject> extends Cache<T> {
  /** Lists and watches until `stop`; returns at once. */
  start(): void;
  stop(): Promise<void>;
  /** The first list has been delivered. */
  hasSynced(): boolean;
  /** Milliseconds since the server was last known to be heard; feeds readiness. */
  staleMs(): number;
  /** Called with the object after each change, its last state when it was deleted. */
  onChange(listener: (object: T, isDeleted: boolean) => void): void;
  /** Takes what a write of ours returned, so that the next look at the cache sees it; an older version is ignored. */
  put(object: T): void;
}

const maxRemembered = 10_000;

/**
 * A cache of one kind of object that keeps itself up to date: after any error it begins again by itself, with a random
 * pause, from where it was or from a new list.
 */
export function createInformer<T extends KubeObject>(options: InformerOptions): Informer<T> {
  const { client, path, clock, onError, idleMs = 90_000, pauseMs = 1_000 } = options;
  const objects = new Map<Key, T>();
  const uids = new Map<string, Key>();
  /** Uids never come back, so what is in here stays deleted even when the answer to a write of ours arrives late. */
  const deleted = new Set<string>();
  const listeners: ((object: T, isDeleted: boolean) => void)[] = [];
  const stopping = new AbortController();
  let loop: Promise<void> | undefined;
  let resourceVersion = '';
  let synced = false;
  let heardMs = clock.now();
  let failures = 0;

  function tell(object: T, isDeleted: boolean): void {
    for (const listener of listeners) listener(object, isDeleted);
  }

  function put(received: T): void {
    const object = withoutManagedFields(received);
    const key = keyOf(object);
    const known = objects.get(key);
    if (deleted.has(object.metadata.uid) || (known !== undefined && !isNewer(object, known))) return;
    if (known !== undefined && known.metadata.uid !== object.metadata.uid) remove(known);
    objects.set(key, object);
    uids.set(object.metadata.uid, key);
    tell(object, false);
  }

  function remove(object: T): void {
    const key = keyOf(object);
    deleted.add(object.metadata.uid);
    const [oldest] = deleted;
    if (deleted.size > maxRemembered && oldest !== undefined) deleted.delete(oldest);
    if (objects.get(key)?.metadata.uid !== object.metadata.uid) return;
    objects.delete(key);
    uids.delete(object.metadata.uid);
    tell(object, true);
  }

  async function list(): Promise<void> {
    const answer = (await client.call({ method: 'GET', path, timeoutMs: 60_000 })) as {
      readonly metadata: { readonly resourceVersion: string };
      readonly items: readonly T[] | null;
    };
    const items = answer.items ?? [];
    const present = new Set(items.map((item) => item.metadata.uid));
    for (const object of objects.values()) if (!present.has(object.metadata.uid)) remove(object);
    for (const item of items) put(item);
    resourceVersion = answer.metadata.resourceVersion;
    synced = true;
    heardMs = clock.now();
  }

  function take(type: string, object: T): void {
    heardMs = clock.now();
    failures = 0;
    resourceVersion = object.metadata.resourceVersion;
    if (type === 'DELETED') remove(object);
    else if (type === 'ADDED' || type === 'MODIFIED') put(object);
  }

  async function listAndWatch(): Promise<void> {
    if (resourceVersion === '') await list();
    await client.watch({
      path,
      query: { resourceVersion, allowWatchBookmarks: true },
      idleMs,
      signal: stopping.signal,
      onOpen: () => {
        heardMs = clock.now();
      },
      onEvent: (type, object) => take(type, object as T),
    });
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const begunMs = clock.now();
      try {
        await listAndWatch();
      } catch (error) {
        if (stopping.signal.aborted) return;
        onError(error);
        failures += 1;
        // a server restored from a backup knows no version of ours: after a few failures only a new list helps
        if (isGone(error) || failures >= 3) resourceVersion = '';
      }
      // a server that ends watches at once must not be asked in a tight loop
      if (failures > 0 || clock.now() - begunMs < pauseMs) await pause();
    }
  }

  async function pause(): Promise<void> {
    const longestMs = pauseMs * Math.min(2 ** Math.max(failures - 1, 0), 30);
    try {
      await delay(longestMs * (0.5 + Math.random() / 2), undefined, { signal: stopping.signal });
    } catch (error) {
      if (!stopping.signal.aborted) throw error;
    }
  }

  return {
    start() {
      loop ??= run();
    },
    async stop() {
      stopping.abort();
      await loop;
    },
    hasSynced: () => synced,
    staleMs: () => clock.now() - heardMs,
    onChange: (listener) => {
      listeners.push(listener);
    },
    put,
    get: (key) => objects.get(key),
    byUid: (uid) => {
      const key = uids.get(uid);
      return key === undefined ? undefined : objects.get(key);
    },
    list: () => objects.values(),
  };
}

function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (!('managedFields' in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata as T['metadata'] & { readonly managedFields: unknown };
  return { ...object, metadata };
}

/**
 * Versions of one object are numbers in every server that stores in etcd (promised since 1.35); where they are not, what comes
 * later is newer.
 */
function isNewer(object: KubeObject, known: KubeObject): boolean {
  if (object.metadata.uid !== known.metadata.uid) {
    return object.metadata.creationTimestamp >= known.metadata.creationTimestamp;
  }
  const [a, b] = [object.metadata.resourceVersion, known.metadata.resourceVersion];
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return a !== b;
  return BigInt(a) > BigInt(b);
}
