import { randomBytes, randomUUID } from 'node:crypto';
import { collectGarbage, storeTime } from '../../agent/store/collect-garbage.ts';
import { createS3Store, type ClosableStore } from '../../agent/store/s3.ts';
import { keyBytes } from '../../proto/keys.ts';
import { silentLog } from '../../test/fakes/silent-log.ts';
import { Cluster } from '../chaos/cluster.ts';
import { prepareGround } from '../chaos/ground.ts';
import { move, type Progress } from '../chaos/move.ts';
import { checkPages, firstWords } from '../chaos/run.ts';
import { deleteBelow } from './objects.ts';
import { sizeName, type Result } from './report.ts';
import type { Bench } from './setting.ts';
import { median, summarize } from './statistics.ts';

const defaultMib = 256;
const percentPerSecond = 2;
/** The last one is only there to have one on each side of the 50th. */
const moves = 51;
const hourMs = 3_600_000;
/** The operator's defaults (operator/config.ts). */
const retention = { count: 2, ttlSeconds: 7 * 86_400, depth: 16 };
const mibOf = (bytes: number): number => bytes / 2 ** 20;

/** Objects and their sizes. */
async function objectsBelow(store: ClosableStore, prefix: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const { signal } = new AbortController();
  for await (const { key, bytes } of store.list(prefix, signal)) found.set(key, bytes);
  return found;
}

const sum = (sizes: Iterable<number>): number => [...sizes].reduce((total, next) => total + next, 0);

/**
 * One process moved again and again by real agents from container to container: whether its restore, or what is stored of it, grows with its
 * history. Retention runs as if each move came two hours after the last.
 */
export async function generations(bench: Bench): Promise<readonly Result[]> {
  const agentImage = process.env['PODFERRY_AGENT_ROOT'];
  if (agentImage === undefined) throw new Error('PODFERRY_AGENT_ROOT is not set');
  const mib = bench.wanted.only?.[0] ?? defaultMib;
  // of the witness, its child has a fifth
  const root = Math.round(mib * 0.8);
  const instance = randomUUID();
  const keyPrefix = `bench-${instance}/`;
  const sealing = { instance, id: 'bench', key: randomBytes(keyBytes) };
  const store = createS3Store(bench.settings);
  const ground = await prepareGround(agentImage);
  const cluster = await Cluster.start({
    ground,
    command: ['/witness', String(root), String(percentPerSecond)],
    store: bench.settings,
    keyPrefix,
    sealing,
    log: silentLog(),
    retention,
  });
  const close = async (): Promise<void> => {
    bench.undo.delete(close);
    await cluster.close();
    await ground.remove();
    await deleteBelow(store, keyPrefix);
    store.close();
  };
  bench.undo.add(close);
  const { signal } = new AbortController();
  const collect = async (): Promise<void> => {
    const policy = { ...retention, ttlMs: retention.ttlSeconds * 1_000, graceMs: hourMs };
    const nowMs = (await storeTime(store, keyPrefix, signal)) + 2 * hourMs;
    await collectGarbage({ store, keyPrefix, sealing, policy, nowMs, signal });
  };

  const restoreMs: number[] = [];
  const storedMib: number[] = [];
  const keptMib: number[] = [];
  try {
    let uid = await cluster.createFirst();
    const first = cluster.pod(uid);
    if (first === undefined) throw new Error('the first pod is gone');
    await firstWords(first);
    let kept: ReadonlyMap<string, number> = new Map();
    for (let generation = 1; generation <= moves; generation += 1) {
      const progress: Progress = { phase: 'prepare', targetUid: undefined };
      const moved = await move(cluster, uid, 'lazy-hybrid', progress);
      if (moved.outcome !== 'moved' || moved.targetUid === undefined || moved.restoreMs === undefined) {
        throw new Error(`move ${generation} was ${moved.outcome}: ${moved.failure}`);
      }
      uid = moved.targetUid;
      await cluster.settled();
      const after = await objectsBelow(store, keyPrefix);
      const before = kept;
      storedMib.push(mibOf(sum([...after].flatMap(([key, bytes]) => (before.has(key) ? [] : [bytes])))));
      await collect();
      kept = await objectsBelow(store, keyPrefix);
      keptMib.push(mibOf(sum(kept.values())));
      restoreMs.push(moved.restoreMs);
      bench.say(
        `generation ${generation}: restored in ${Math.round(moved.restoreMs)} ms, ${storedMib.at(-1)?.toFixed(1)} MiB stored, ${keptMib.at(-1)?.toFixed(1)} MiB kept`,
      );
    }
    const last = cluster.pod(uid);
    const wrong = last === undefined ? ['it is gone'] : await checkPages(last, 2);
    if (wrong.length > 0) throw new Error(`the process of generation ${moves} is wrong: ${wrong.join('; ')}`);
  } finally {
    await close();
  }

  const around = (generation: number): number[] => restoreMs.slice(generation - 2, generation + 1);
  const name = (generation: number): string => `${sizeName(mib)}-${percentPerSecond}%-g${generation}`;
  return [
    { case: name(2), metric: 'restoreMs', ...summarize(around(2)) },
    {
      case: name(50),
      metric: 'restoreMs',
      ...summarize(around(50)),
      baseline: { case: name(2), p50: median(around(2)) },
    },
    { case: `${name(2)}-g50`, metric: 'storedMiBByOneMove', ...summarize(storedMib.slice(1)) },
    {
      case: `${name(2)}-g50`,
      metric: 'keptMiB',
      ...summarize(keptMib.slice(1)),
      baseline: { case: name(2), p50: median(keptMib.slice(0, 3)) },
    },
  ];
}
