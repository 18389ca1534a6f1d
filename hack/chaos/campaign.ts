import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { collectGarbage, storeTime } from '../../agent/store/collect-garbage.ts';
import type { RetentionPolicy } from '../../agent/store/retention.ts';
import { createS3Store, type ClosableStore } from '../../agent/store/s3.ts';
import type { Sealing } from '../../agent/store/sealing.ts';
import { keyBytes } from '../../proto/keys.ts';
import { strategies } from '../../proto/migration.ts';
import { silentLog } from '../../test/fakes/silent-log.ts';
import { Cluster } from './cluster.ts';
import { faultOf, randomOf, type Victim } from './faults.ts';
import type { Gateway } from './gateway.ts';
import { prepareGround, type Ground } from './ground.ts';
import type { Pod } from './pod.ts';
import { firstWords, runOnce, type RunResult } from './run.ts';

export interface CampaignOptions {
  readonly agentImage: string;
  readonly gateway: Gateway;
  readonly seed: number;
  readonly victims: readonly Victim[];
  /** Where the agents' logs of a run are left that went wrong, or was given up for its time. */
  readonly logsFor?: (run: number) => string;
}

const mib = 32;
const percentPerSecond = 5;
const hour = 3_600_000;
/** A process that tests is stopped, or starved, for longer than the operator's own keepalive: that is another fault than the one of the run. */
const stalledMs = 8_000;
const tickMs = 200;
const mostTries = 3;
/** Keeps the store small. */
const policy: RetentionPolicy = { ttlMs: 1_000 * hour, count: 1, depth: 100, graceMs: hour };

/** One process that is moved again and again, with a fault on each of its ways. */
export class Campaign {
  #source: { readonly uid: string; readonly ids: ReadonlyMap<string, string> } | undefined;

  private constructor(
    private readonly options: CampaignOptions,
    private readonly ground: Ground,
    private readonly cluster: Cluster,
    private readonly store: ClosableStore,
    private readonly sealing: Sealing,
    private readonly keyPrefix: string,
  ) {}

  static async start(options: CampaignOptions): Promise<Campaign> {
    const { settings } = options.gateway;
    const ground = await prepareGround(options.agentImage);
    try {
      const instance = randomUUID();
      const keyPrefix = `chaos-${instance}/`;
      const sealing = { instance, id: 'chaos', key: randomBytes(keyBytes) };
      const cluster = await Cluster.start({
        ground,
        command: ['/witness', String(mib), String(percentPerSecond)],
        store: settings,
        keyPrefix,
        sealing,
        log: silentLog(),
        retention: { count: 5, ttlSeconds: 86_400, depth: 16 },
      });
      return new Campaign(options, ground, cluster, createS3Store(settings), sealing, keyPrefix);
    } catch (error) {
      await ground.remove();
      throw error;
    }
  }

  /** The run of this number; again, when we were kept from looking at it: nobody answered the agents then. */
  async run(number: number): Promise<RunResult> {
    for (let tries = 1; ; tries += 1) {
      const watch = watchOurselves();
      const result = await this.#run(number);
      if (watch.worstMs() < stalledMs || result.wrong.length === 0 || tries === mostTries) return result;
    }
  }

  /** A process that went wrong is not moved on: the next run begins with a new one. */
  async #run(number: number): Promise<RunResult> {
    const { seed, victims, gateway, logsFor } = this.options;
    const { cluster, store, keyPrefix, sealing } = this;
    const source = (this.#source ??= await this.#first());
    const pods = new Set<Pod>();
    const stopNoting = cluster.onChange(() => {
      for (const uid of cluster.uids) pods.add(cluster.pod(uid) as Pod);
    });
    const strategy = strategies[Math.floor(randomOf(seed ^ number)() * strategies.length)] ?? 'lazy-hybrid';
    const settings = { cluster, gateway, store, keyPrefix, sealing, ids: source.ids };
    const result = await runOnce(settings, source.uid, faultOf(seed, number, victims), strategy);
    stopNoting();
    const isOdd = result.wrong.length > 0 || (result.failure?.startsWith('DEADLINE_EXCEEDED') ?? false);
    if (isOdd && logsFor !== undefined) writeFileSync(logsFor(number), logsOf(pods, result));
    if (result.wrong.length > 0 || result.heirUid === undefined) {
      for (const uid of cluster.uids) cluster.remove(uid);
      await cluster.settled();
      this.#source = undefined;
    } else this.#source = { uid: result.heirUid, ids: source.ids };
    await this.#tidy();
    return result;
  }

  async close(): Promise<void> {
    await this.cluster.close();
    try {
      const { signal } = new AbortController();
      const keys: string[] = [];
      for await (const { key } of this.store.list(this.keyPrefix, signal)) keys.push(key);
      if (keys.length > 0) await this.store.delete(keys, signal);
    } finally {
      this.store.close();
      await this.ground.remove();
    }
  }

  async #first(): Promise<{ readonly uid: string; readonly ids: ReadonlyMap<string, string> }> {
    const uid = await this.cluster.createFirst();
    const pod = this.cluster.pod(uid);
    if (pod === undefined) throw new Error('the first pod is gone');
    return { uid, ids: await firstWords(pod) };
  }

  async #tidy(): Promise<void> {
    const { store, keyPrefix, sealing } = this;
    const { signal } = new AbortController();
    const nowMs = (await storeTime(store, keyPrefix, signal)) + 2 * hour;
    await collectGarbage({ store, keyPrefix, sealing, policy, nowMs, signal });
  }
}

/** How long this process was kept from running at worst, since now. */
function watchOurselves(): { worstMs(): number } {
  let [last, worst] = [performance.now(), 0];
  const look = (): void => {
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
  };
  const timer = setInterval(look, tickMs);
  return {
    worstMs() {
      clearInterval(timer);
      look();
      return worst;
    },
  };
}

function logsOf(pods: ReadonlySet<Pod>, result: RunResult): string {
  const parts = [...pods].map(({ options, agentLog, lines, agentStarts, appStarts }) =>
    [
      `== ${options.name}${options.restoreFor === undefined ? '' : ' (target)'}: agent ${agentStarts}, app ${appStarts} starts`,
      ...agentLog,
      ...lines.filter((line) => !line.includes(' beat ')),
      ...lines.slice(-4),
    ].join('\n'),
  );
  return `${JSON.stringify(result, undefined, 2)}\n${parts.join('\n')}\n`;
}
