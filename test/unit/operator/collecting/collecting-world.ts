import { collectRound, newPass, type RoundDeps } from '../../../../operator/collecting/collect-round.ts';
import { askLiving, livingInstances } from '../../../../operator/collecting/living.ts';
import type { Call } from '../../../../operator/kube/client.ts';
import type { KubeObject, Pod } from '../../../../operator/kube/objects.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { annotations } from '../../../../proto/names.ts';
import { instancePrefix, manifestKeyOf, markOf, packObject } from '../../../../proto/store-layout.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';
import { ListedObjects } from '../../../fakes/listed-objects.ts';
import { migration, pod } from '../../../fakes/operator-objects.ts';
import { silentLog } from '../../../fakes/silent-log.ts';

export const ttlMs = 1_000;
const namespaces = ['bank', 'shop'] as const;
const { signal } = new AbortController();
const uuid = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;

/** What can happen to an instance, or to everything; the number says to which one, where it matters. */
export const happenings = [
  'born',
  'checkpoint',
  'begin to move',
  'target first',
  'source first',
  'target last',
  'end the move',
  'gone',
  'restored later',
  'caches follow',
  'time passes',
  'long time passes',
  'request fails',
  'nothing',
] as const;
export type Happening = readonly [(typeof happenings)[number], number];

interface Instance {
  readonly uid: string;
  readonly namespace: string;
  readonly keyPrefix: string;
  /** Uids of its pods. */
  readonly pods: Set<string>;
  isMoving: boolean;
  /** Number of the request before which it came to life; undefined: it is gone. */
  livesSince: number | undefined;
  written: { readonly ms: number; readonly request: number };
  /** Number of the request that began to list what it has. */
  listed: number;
  /** Packs of the manifest that a restore has read and goes on reading, as long as its pod is there. */
  reads: readonly string[];
}

/** Instances, the API server that knows them, caches that lag, and the store; and a look at every moment whether a promise is broken. */
export class CollectingWorld {
  readonly broken: string[] = [];
  readonly store = new ListedObjects();
  readonly instances: Instance[] = [];
  /** Of every manifest that was ever written. */
  private readonly named = new Map<string, readonly string[]>();
  private cachedPods: readonly Pod[] = [];
  private cachedMigrations: readonly KubeObject[] = [];
  private pass = newPass();
  private during: readonly Happening[] = [];
  private requests = 0;
  private podsListed = 0;
  private count = 0;
  private failsNext = false;
  private lastListed: string | undefined;

  constructor() {
    this.store.nowMs = 1_000_000;
    this.store.beforeAnswer = ({ list, remove }) => {
      if (remove !== undefined) {
        this.removed(remove);
        return;
      }
      const one = this.instances.find(({ keyPrefix }) => keyPrefix === list && keyPrefix !== this.lastListed);
      if (one !== undefined) one.listed = this.requests + 1;
      this.lastListed = list;
      this.request();
    };
  }

  happen([what, n]: Happening): void {
    const one = this.instances[n % Math.max(this.instances.length, 1)];
    const { store } = this;
    if (what === 'born') this.bear(namespaces[n % namespaces.length] ?? 'shop');
    else if (what === 'caches follow') this.follow();
    else if (what === 'time passes') store.nowMs += n;
    else if (what === 'long time passes') store.nowMs += 2 * ttlMs;
    else if (what === 'request fails') this.failsNext = true;
    else if (one !== undefined) this.happenTo(one, what);
    this.check();
  }

  /** One round, with something happening before each of its requests. @returns whether it came through */
  async collect(during: readonly Happening[], limits = { pages: 1_000, deletes: 1_000 }): Promise<boolean> {
    this.during = during;
    const deps: RoundDeps = {
      objects: this.store,
      prefix: 'pre/fix',
      ttlMs,
      limits,
      log: silentLog(),
      cached: () => livingInstances(this.cachedPods, this.cachedMigrations),
      ask: async (namespace) =>
        askLiving(
          answering((call) => this.answer(call)),
          namespace,
        ),
    };
    try {
      const isWhole = await collectRound(deps, this.pass, signal);
      const isClean = isWhole && this.pass.failure === undefined;
      if (isWhole) this.pass = newPass();
      return isClean;
    } catch (error) {
      if (!(error instanceof PodferryError)) throw error;
      return false;
    }
  }

  /** Whatever was under way ends, and everything that is gone is old by now. */
  async settle(): Promise<void> {
    this.failsNext = false;
    for (const one of this.instances) this.happenTo(one, 'end the move');
    this.follow();
    this.store.nowMs += 2 * ttlMs;
    // The first pass may have begun before, and got past some of them.
    for (let whole = 0; whole < 2;) if (await this.collect([])) whole += 1;
    this.check();
  }

  private bear(namespace: string): void {
    const uid = this.nextUid();
    const workload = { kind: 'Deployment', name: `web${this.count % 3}` };
    const keyPrefix = instancePrefix('pre/fix', { namespace, workload, instance: uid });
    const one: Instance = {
      uid,
      namespace,
      keyPrefix,
      pods: new Set([uid]),
      isMoving: false,
      livesSince: this.requests,
      written: { ms: 0, request: 0 },
      listed: 0,
      reads: [],
    };
    this.instances.push(one);
    this.store.put(`${keyPrefix}notes-of-somebody.txt`);
    this.checkpoint(one);
  }

  private happenTo(one: Instance, what: Happening[0]): void {
    const isAlive = one.livesSince !== undefined;
    const [oldest] = one.pods;
    if (what === 'checkpoint' && isAlive) this.checkpoint(one);
    else if (what === 'begin to move' && one.pods.size === 1) one.isMoving = true;
    else if (what === 'target first' && one.isMoving && one.pods.size === 1) one.pods.add(this.nextUid());
    else if (what === 'source first' && one.isMoving && oldest !== undefined) one.pods.delete(oldest);
    else if (what === 'target last' && one.isMoving && one.pods.size === 0) one.pods.add(this.nextUid());
    else if (what === 'end the move' && one.pods.size > 0) one.isMoving = false;
    else if (what === 'gone' && !one.isMoving) {
      one.pods.clear();
      one.reads = [];
    } else if (what === 'restored later' && !isAlive) {
      one.pods.add(this.nextUid());
      const manifest = [...this.named.keys()].findLast((key) => key.startsWith(one.keyPrefix) && this.isThere(key));
      one.reads = this.named.get(manifest ?? '') ?? [];
    }
    const lives = one.isMoving || one.pods.size > 0;
    one.livesSince = lives ? (one.livesSince ?? this.requests) : undefined;
  }

  /** The next checkpoint goes on using packs of the last one. */
  private checkpoint(one: Instance): void {
    const { keyPrefix } = one;
    one.written = { ms: this.store.nowMs, request: this.requests };
    const last = [...this.named].findLast(([key]) => key.startsWith(keyPrefix) && this.isThere(key))?.[1] ?? [];
    const fresh = packObject(keyPrefix, this.nextUid());
    this.count += 1;
    const manifest = manifestKeyOf({ keyPrefix, checkpoint: `g${this.count}` });
    const packs = [fresh, ...last.slice(0, 1)];
    for (const key of [fresh, manifest, markOf(keyPrefix)]) this.store.put(key);
    this.named.set(manifest, packs);
  }

  private request(): void {
    this.requests += 1;
    const [next, ...later] = this.during;
    this.during = later;
    if (next !== undefined) this.happen(next);
    if (!this.failsNext) return;
    this.failsNext = false;
    throw new PodferryError('STORE_READ_FAILED', 'simulated');
  }

  private answer(call: Call): unknown {
    try {
      this.request();
    } catch {
      throw apiError(500);
    }
    const items = this.instances.filter(({ namespace }) => call.path.includes(`/${namespace}/`));
    const isOfPods = call.path.endsWith('/pods');
    if (isOfPods) this.podsListed = this.requests;
    return { metadata: {}, items: items.flatMap((one) => (isOfPods ? podsOf(one) : migrationsOf(one))) };
  }

  private removed(key: string): void {
    const one = this.instances.find(({ keyPrefix }) => key.startsWith(keyPrefix));
    if (one === undefined) this.broken.push(`${key} is of no instance`);
    if (key.endsWith('.txt')) this.broken.push(`${key} is somebody else's`);
    if (one !== undefined && one.written.request < one.listed && this.store.nowMs - one.written.ms <= ttlMs) {
      this.broken.push(`${key} is of one that went a moment ago`);
    }
    if (one?.livesSince !== undefined && one.livesSince < this.podsListed) this.broken.push(`${key} is of who lives`);
    if (
      [...this.named].some(([manifest, packs]) => this.isThere(manifest) && manifest !== key && packs.includes(key))
    ) {
      this.broken.push(`${key} is still named`);
    }
    this.request();
  }

  private check(): void {
    for (const { uid, reads, livesSince } of this.instances) {
      if (livesSince !== undefined && !reads.every((key) => this.isThere(key))) {
        this.broken.push(`${uid} reads a pack that is gone`);
      }
    }
  }

  private follow(): void {
    this.cachedPods = this.instances.flatMap(podsOf);
    this.cachedMigrations = this.instances.flatMap(migrationsOf);
  }

  private isThere(key: string): boolean {
    return this.store.objects.has(key);
  }

  private nextUid(): string {
    this.count += 1;
    return uuid(this.count);
  }
}

function podsOf(one: Instance): readonly Pod[] {
  return [...one.pods].map((uid) => {
    const moved = uid === one.uid ? {} : { [annotations.instance]: one.uid };
    return pod({ metadata: { uid, name: `pod-${uid}`, namespace: one.namespace, annotations: moved } });
  });
}

function migrationsOf({ uid, namespace, isMoving }: Instance): readonly KubeObject[] {
  if (!isMoving) return [];
  return [migration({ metadata: { name: `move-${uid}`, namespace }, status: { instance: uid } }) as KubeObject];
}
