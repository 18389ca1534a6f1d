import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { sizes } from './cases.ts';
import { end, goOn, rest, takePoint, type Point } from './engine.ts';
import { deleteBelow, timed, uploadFolder, uploadRandom } from './objects.ts';
import { plainDump } from './plain-criu.ts';
import { sizeName, type Result } from './report.ts';
import { availableMib, onStage, type Bench, type Stage } from './setting.ts';
import { median, medianLaps, summarize } from './statistics.ts';

const rounds = 5;
const percentPerSecond = 2;

interface Round {
  readonly point: Point;
  /** In which the process stood still, as it saw it. */
  readonly gapMs: number;
  readonly rawMs: number;
  readonly plainDumpMs: number;
  readonly plainUploadMs: number;
  readonly plainGapMs: number;
}

/** One point by the agent, the same bytes at random by the same HTTP path, and plain CRIU with an upload: all of one process. */
async function round(on: Stage, mib: number): Promise<Round> {
  const { rig, store, prefix, workload } = on;
  const rawMs = await uploadRandom(store, `${prefix}raw/`, mib << 20);
  await rest();

  let mark = await workload.mark();
  const point = await takePoint(on);
  goOn(workload);
  const gapMs = await workload.gapAfter(mark);
  await rest();

  const dir = join(rig.dir, 'plain');
  mark = await workload.mark();
  const plainDumpMs = await timed(() => plainDump(rig, workload.pid, workload.container, dir, 'leave-running'));
  const plainGapMs = await workload.gapAfter(mark);
  const plainUploadMs = await timed(() => uploadFolder(store, `${prefix}plain/`, dir));
  await rm(dir, { recursive: true });
  await deleteBelow(store, prefix);
  return { point, gapMs, rawMs, plainDumpMs, plainUploadMs, plainGapMs };
}

/** First points of processes of several sizes. */
export async function dump(bench: Bench): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const mib of sizes(bench.wanted, await availableMib(), 2)) {
    const name = `${sizeName(mib)}-${percentPerSecond}%`;
    const all = await onStage(bench, { mib, percentPerSecond }, async (on) => {
      const done: Round[] = [];
      await round(on, mib); // warms up
      for (let nth = 1; nth <= rounds; nth++) {
        const one = await round(on, mib);
        bench.say(`dump ${name} ${nth}/${rounds}: ${one.point.tookMs} ms, raw upload ${Math.round(one.rawMs)} ms`);
        done.push(one);
      }
      await on.workload.check();
      await end(on.workload);
      return done;
    });
    const of = (pick: (one: Round) => number): number[] => all.map(pick);
    const plain = (pick: (one: Round) => number) => ({ case: 'criu+files', p50: median(of(pick)) });
    results.push(
      {
        ...{ case: name, metric: 'pointMs', ...summarize(of(({ point }) => point.tookMs)) },
        baseline: plain(({ plainDumpMs, plainUploadMs }) => plainDumpMs + plainUploadMs),
        steps: medianLaps(all.map(({ point }) => point.laps)),
      },
      {
        ...{ case: name, metric: 'stoppedMs', ...summarize(of(({ gapMs }) => gapMs)) },
        baseline: plain(({ plainGapMs }) => plainGapMs),
      },
      {
        ...{ case: name, metric: 'percentOfRawUploadRate', ...summarize(of(shareOfRaw)) },
        baseline: {
          case: 'criu+files',
          p50: median(of((one) => (100 * one.rawMs) / (one.plainDumpMs + one.plainUploadMs))),
        },
      },
      {
        ...{ case: name, metric: 'pageMiBPerSecond', ...summarize(of(({ point }) => mib / (point.tookMs / 1000))) },
        baseline: { case: 'raw upload', p50: median(of(({ rawMs }) => mib / (rawMs / 1000))) },
      },
      { case: name, metric: 'storedMiB', ...summarize(of(({ point }) => point.storedBytes / 2 ** 20)) },
    );
  }
  return results;
}

const shareOfRaw = ({ rawMs, point }: Round): number => (100 * rawMs) / point.tookMs;
