import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { type KubeApi, statusOf } from '../kube/api.ts';
import { withDeadline } from '../with-deadline.ts';

/** An object's metadata, as far as anybody here wants to know it. */
export interface Metadata {
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of what controls it. */
  readonly controllerUid: string | undefined;
}

export interface MetadataCacheOptions {
  readonly api: KubeApi;
  /** The collection in each version of its API, the newest first: the first that the server has is used. */
  readonly paths: readonly string[];
  /** What is worth its memory; the rest is forgotten at once. */
  readonly keeps: (metadata: Metadata) => boolean;
  /** Of each failure; the cache goes on by itself. */
  readonly onError: (error: unknown) => void;
  /** Without a word of the server for this long a watch is begun anew. */
  readonly idleMs?: number;
  /** After the first failure; doubled with each further one, up to 64 times. */
  readonly pauseMs?: number;
}

export interface MetadataCache {
  byUid(uid: string): Metadata | undefined;
  /** The first list is complete. */
  hasSynced(): boolean;
  /** Lists and watches until the signal; never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

const Item = z.looseObject({
  metadata: z.looseObject({
    uid: z.string(),
    resourceVersion: z.string(),
    annotations: z.record(z.string(), z.string()).optional(),
    ownerReferences: z.array(z.looseObject({ uid: z.string(), controller: z.boolean().optional() })).optional(),
  }),
});
const List = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), continue: z.string().optional() }),
  items: z.array(Item).nullable(),
});
/** A bookmark's object has a version and nothing else. */
const Event = z.looseObject({ type: z.string(), object: z.unknown() });
const Versioned = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });
const Fault = z.looseObject({ code: z.number().optional(), message: z.string().optional() });

const meta = 'g=meta.k8s.io;v=v1';
const asList = `application/json;as=PartialObjectMetadataList;${meta}`;
const asItem = `application/json;as=PartialObjectMetadata;${meta}`;
const pageSize = '500';
const listMs = 60_000;
const longestPause = 64;

/**
 * Keeps the metadata of one kind of object up to date: only metadata travels. A watch that ends goes on from where it was;
 * one whose version is too old (410), or that fails again and again, begins with a new list.
 */
export function createMetadataCache(options: MetadataCacheOptions): MetadataCache {
  const { api, paths, keeps, onError, idleMs = 90_000, pauseMs = 1000 } = options;
  let known = new Map<string, Metadata>();
  let hasSynced = false;
  let path: string | undefined;
  let version: string | undefined;
  let failures = 0;

  function put(into: Map<string, Metadata>, { metadata }: z.infer<typeof Item>): void {
    const { uid, annotations = {}, ownerReferences = [] } = metadata;
    const controllerUid = ownerReferences.find(({ controller }) => controller === true)?.uid;
    const one = { uid, annotations, controllerUid };
    if (keeps(one)) into.set(uid, one);
    else into.delete(uid);
  }

  async function pathOnServer(signal: AbortSignal): Promise<string> {
    for (const one of paths) {
      try {
        await api.get({ path: one, query: { limit: '1' }, accept: asList, signal });
        return one;
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
      }
    }
    throw new PodferryError('INTERNAL', `the server has none of ${paths.join(', ')}`);
  }

  async function list(signal: AbortSignal): Promise<string> {
    path ??= await pathOnServer(signal);
    const found = new Map<string, Metadata>();
    let page: string | undefined;
    for (;;) {
      const query = { limit: pageSize, ...(page === undefined ? {} : { continue: page }) };
      const parsed = List.parse(await api.get({ path, query, accept: asList, signal }));
      for (const item of parsed.items ?? []) put(found, item);
      page = parsed.metadata.continue;
      if (page !== undefined && page !== '') continue;
      known = found;
      hasSynced = true;
      return parsed.metadata.resourceVersion;
    }
  }

  function take(line: unknown): void {
    const { type, object } = Event.parse(line);
    if (type === 'ERROR') {
      const { code, message } = Fault.parse(object);
      throw new PodferryError('INTERNAL', `the watch ended: ${message ?? 'error'}`, { status: code });
    }
    version = Versioned.parse(object).metadata.resourceVersion;
    failures = 0;
    if (type === 'BOOKMARK') return;
    const item = Item.parse(object);
    if (type === 'DELETED') known.delete(item.metadata.uid);
    else put(known, item);
  }

  async function watch(from: string, signal: AbortSignal): Promise<void> {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), idleMs);
    try {
      const query = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion: from };
      const read = { path: path ?? '', query, accept: asItem, signal: AbortSignal.any([signal, idle.signal]) };
      for await (const line of api.lines(read)) {
        timer.refresh();
        take(line);
      }
    } catch (error) {
      if (!idle.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async function listAndWatch(signal: AbortSignal): Promise<void> {
    version ??= await withDeadline(listMs, signal, list);
    await watch(version, signal);
  }

  return {
    byUid: (uid) => known.get(uid),
    hasSynced: () => hasSynced,
    async run(signal) {
      while (!signal.aborted) {
        const began = performance.now();
        try {
          await listAndWatch(signal);
        } catch (error) {
          if (signal.aborted) return;
          failures += 1;
          if (statusOf(error) === 410 || failures >= 3) version = undefined;
          onError(error);
        }
        // A server that ends every watch at once is not asked in a tight loop either.
        const isHasty = failures > 0 || performance.now() - began < pauseMs;
        if (isHasty) await pause(pauseMs * Math.min(2 ** Math.max(failures - 1, 0), longestPause), signal);
      }
    },
  };
}

/** Up to half shorter, so that the replicas do not ask in step. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms * (0.5 + Math.random() / 2), undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
