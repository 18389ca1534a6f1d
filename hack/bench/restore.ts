import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createS3Store } from '../../agent/store/s3.ts';
import type { Store } from '../../agent/store/store.ts';
import { sizes } from './cases.ts';
import { end, rest, restorePoint, takePoint, type Drain, type Point } from './engine.ts';
import { deleteBelow, downloadFolder, timed, uploadFolder } from './objects.ts';
import { plainDump, plainRestore } from './plain-criu.ts';
import { startProxyProcess } from './proxy-process.ts';
import { sizeName, type Result } from './report.ts';
import { availableMib, onStage, intoContainer, type Bench, type Stage } from './setting.ts';
import { median, medianLaps, quantileOfSlow, summarize, type Lap } from './statistics.ts';
import { slowFloorUs } from './workload-lines.ts';
import { Workload } from './workload.ts';

const rounds = 5;
const percentPerSecond = 2;
const latencyMs = 20;

/** One restore: until it ran, until every page was in, and how long writes to pages took meanwhile. */
interface Lazy {
  readonly runningMs: number;
  readonly drain: Drain;
  readonly writeP99Ms: number;
  readonly writeMaxMs: number;
  readonly laps: readonly Lap[];
}

interface Round {
  readonly full: Lazy;
  /** With latencyMs before each request. */
  readonly late: Lazy;
  readonly plainDownloadMs: number;
  readonly plainRestoreMs: number;
}

async function restored(
  on: Stage,
  store: Store,
  ref: Point['ref'],
  pid: number,
): Promise<Lazy & { workload: Workload }> {
  const { workload, runningMs, laps, drained } = await restorePoint(on, store, ref, pid);
  const drain = await drained;
  const { writes, slowUs } = await workload.check();
  return {
    workload,
    runningMs,
    drain,
    writeP99Ms: quantileOfSlow(slowUs, writes, slowFloorUs, 0.99) / 1000,
    writeMaxMs: Math.max(slowFloorUs, ...slowUs) / 1000,
    laps,
  };
}

/** A point is restored twice by the agent, then the same process by plain CRIU from its files; each copy is checked page by page. */
async function round(on: Stage, lateStore: Store, from: Workload): Promise<Round & { workload: Workload }> {
  const { rig, store, prefix } = on;
  await from.check(); // starts the counting of writes anew
  const { ref } = await takePoint({ ...on, workload: from });
  await end(from);
  await rest();
  const full = await restored(on, store, ref, from.pid);
  await end(full.workload);
  await rest();
  const late = await restored(on, lateStore, ref, from.pid);

  const dir = join(rig.dir, 'plain');
  const links = await plainDump(rig, from.pid, late.workload.container, dir, 'kill');
  const files = await uploadFolder(store, `${prefix}plain/`, dir);
  await rm(dir, { recursive: true });
  await rest();
  const plainDownloadMs = await timed(() => downloadFolder(store, `${prefix}plain/`, dir, files));
  const { container, restored: plainRestoreMs } = await intoContainer(on, from.pid, (target) =>
    timed(() => plainRestore(rig, dir, links, target)),
  );
  const workload = new Workload(container, from.pid);
  await workload.check();
  await rm(dir, { recursive: true });
  await deleteBelow(store, prefix);
  return { full, late, plainDownloadMs, plainRestoreMs, workload };
}

/** Restores of processes of several sizes from the store. */
export async function restore(bench: Bench): Promise<readonly Result[]> {
  const proxy = await startProxyProcess(bench.settings.endpoint, latencyMs);
  const lateStore = createS3Store({ ...bench.settings, endpoint: proxy.endpoint });
  try {
    const results: Result[] = [];
    for (const mib of sizes(bench.wanted, await availableMib(), 2)) {
      results.push(...(await restoreOf(bench, lateStore, mib)));
    }
    return results;
  } finally {
    lateStore.close();
    await proxy.close();
  }
}

async function restoreOf(bench: Bench, lateStore: Store, mib: number): Promise<readonly Result[]> {
  const name = `${sizeName(mib)}-${percentPerSecond}%`;
  const all = await onStage(bench, { mib, percentPerSecond }, async (on) => {
    const done: Round[] = [];
    let { workload } = on;
    for (let nth = 0; nth <= rounds; nth++) {
      const one = await round(on, lateStore, workload);
      workload = one.workload;
      bench.say(
        `restore ${name} ${nth === 0 ? 'to warm up' : `${nth}/${rounds}`}: runs after ${Math.round(one.full.runningMs)} ms, ` +
          `all in after ${Math.round(one.full.drain.ms)} ms`,
      );
      if (nth > 0) done.push(one);
    }
    await end(workload);
    return done;
  });
  const of = (pick: (one: Round) => number): number[] => all.map(pick);
  const plain = { case: 'criu+files', p50: median(of((one) => one.plainDownloadMs + one.plainRestoreMs)) };
  const transfer = { case: 'download of the same bytes', p50: median(of((one) => one.plainDownloadMs)) };
  const lazy = (title: string, pick: (one: Round) => Lazy): Result[] => [
    {
      ...{ case: title, metric: 'timeToRunningMs', ...summarize(of((one) => pick(one).runningMs)) },
      ...{ baseline: plain, steps: medianLaps(all.map((one) => pick(one).laps)) },
    },
    {
      ...{ case: title, metric: 'timeToAllPagesMs', ...summarize(of((one) => pick(one).drain.ms)) },
      baseline: transfer,
    },
    { case: title, metric: 'faultStallP99Ms', ...summarize(of((one) => pick(one).drain.stallP99Ms)) },
    { case: title, metric: 'faultStallMaxMs', ...summarize(of((one) => pick(one).drain.stallMaxMs)) },
    { case: title, metric: 'pageWriteP99Ms', ...summarize(of((one) => pick(one).writeP99Ms)) },
    { case: title, metric: 'pageWriteMaxMs', ...summarize(of((one) => pick(one).writeMaxMs)) },
  ];
  return [...lazy(name, (one) => one.full), ...lazy(`${name}, ${latencyMs} ms a request`, (one) => one.late)];
}
