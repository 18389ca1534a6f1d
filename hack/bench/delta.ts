import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MemorySession } from '../../agent/memory/session.ts';
import { sizes } from './cases.ts';
import { end, goOn, rest, takePoint, type Point } from './engine.ts';
import { deleteBelow, timed, uploadFolder } from './objects.ts';
import { plainDump } from './plain-criu.ts';
import { sizeName, type Result } from './report.ts';
import { availableMib, onStage, type Bench, type Stage } from './setting.ts';
import { median, medianLaps, summarize } from './statistics.ts';

const rounds = 5;
const percentAtOnce = 2;

interface Round {
  readonly first: Point;
  readonly next: Point;
  readonly plainMs: number;
  readonly plainBytes: number;
}

/** A first point, some of the pages changed, a next point; and plain CRIU, which dumps all of it each time. */
async function round(on: Stage): Promise<Round> {
  const { rig, store, prefix, workload } = on;
  const memory = new MemorySession(workload.pid);
  let first: Point;
  let next: Point;
  try {
    first = await takePoint(on, memory);
    goOn(workload);
    await workload.changeOnce();
    await rest();
    next = await takePoint(on, memory);
    goOn(workload);
  } finally {
    await memory.close();
  }
  await rest();

  const dir = join(rig.dir, 'plain');
  let plainBytes = 0;
  const plainMs = await timed(async () => {
    await plainDump(rig, workload.pid, workload.container, dir, 'leave-running');
    const files = await uploadFolder(store, `${prefix}plain/`, dir);
    plainBytes = files.reduce((total, { bytes }) => total + bytes, 0);
  });
  await rm(dir, { recursive: true });
  await deleteBelow(store, prefix);
  return { first, next, plainMs, plainBytes };
}

/** Next points, with a part of the memory changed since the first. */
export async function delta(bench: Bench): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const mib of sizes(bench.wanted, await availableMib(), 2)) {
    const name = `${sizeName(mib)}-${percentAtOnce}%`;
    const all = await onStage(bench, { mib, percentPerSecond: 0, percentAtOnce }, async (on) => {
      const done: Round[] = [];
      for (let nth = 0; nth <= rounds; nth++) {
        const one = await round(on);
        bench.say(
          `delta ${name} ${nth === 0 ? 'to warm up' : `${nth}/${rounds}`}: first ${one.first.tookMs} ms, next ${one.next.tookMs} ms`,
        );
        if (nth > 0) done.push(one);
      }
      await on.workload.check();
      await end(on.workload);
      return done;
    });
    const of = (pick: (one: Round) => number): number[] => all.map(pick);
    const plain = { case: 'criu+files', p50: median(of(({ plainMs }) => plainMs)) };
    results.push(
      { case: name, metric: 'firstPointMs', ...summarize(of(({ first }) => first.tookMs)), baseline: plain },
      {
        ...{ case: name, metric: 'nextPointMs', ...summarize(of(({ next }) => next.tookMs)), baseline: plain },
        steps: medianLaps(all.map(({ next }) => next.laps)),
      },
      {
        ...{ case: name, metric: 'nextPercentOfTime', ...summarize(of((one) => percent(one, (p) => p.tookMs))) },
        baseline: { case: 'criu+files', p50: 100 },
      },
      {
        ...{ case: name, metric: 'nextPercentOfBytes', ...summarize(of((one) => percent(one, (p) => p.storedBytes))) },
        baseline: { case: 'criu+files', p50: 100 },
      },
    );
  }
  return results;
}

const percent = ({ first, next }: Round, pick: (point: Point) => number): number => (100 * pick(next)) / pick(first);
