import { createS3Store } from '../../agent/store/s3.ts';
import type { MigrationStatus } from '../../proto/migration.ts';
import { containers } from '../../proto/names.ts';
import { apply, kubectl } from '../../test/e2e/support/kubectl.ts';
import { followLog, type LogFollower } from '../../test/e2e/support/log-follower.ts';
import { move } from '../../test/e2e/support/move.ts';
import { createNamespace, deleteNamespace, otherNode } from '../../test/e2e/support/suite.ts';
import { until } from '../../test/e2e/support/until.ts';
import { deployment, onlyPod, type Pod } from '../../test/e2e/support/workload.ts';
import type { Wanted } from './cases.ts';
import { deleteBelow } from './objects.ts';
import { plainMoves } from './plain-move.ts';
import { sizeName, type Result } from './report.ts';
import { availableMib, type Bench } from './setting.ts';
import { median, medianLaps, summarize, type Lap } from './statistics.ts';
import { parseCheck, parseGaps, parsePid } from './workload-lines.ts';

const namespace = 'podferry-bench';
const container = 'app';
const readyMs = 180_000;
/** As hack/install.sh sets it. */
const storePrefix = 'podferry';

interface Case {
  readonly mib: number;
  readonly percentPerSecond: number;
  readonly moves: number;
}

const moves = 20;
const quick: readonly Case[] = [{ mib: 1024, percentPerSecond: 2, moves }];
const full: readonly Case[] = [
  { mib: 64, percentPerSecond: 2, moves },
  { mib: 256, percentPerSecond: 2, moves },
  { mib: 1024, percentPerSecond: 0, moves },
  ...quick,
  { mib: 1024, percentPerSecond: 10, moves },
  { mib: 4096, percentPerSecond: 2, moves },
  { mib: 8192, percentPerSecond: 2, moves: 5 },
];

function cases({ full: isFull, only }: Wanted): readonly Case[] {
  if (only !== undefined) return only.map((mib) => ({ mib, percentPerSecond: 2, moves }));
  return isFull ? full : quick;
}

/** A source, a target with its memory, and as much in the target's agent. */
const copies = 3;
const reserveMib = 3072;

/** The workload's image. @throws Error when hack/bench.sh has not set it */
function image(): string {
  const reference = process.env['PODFERRY_IMAGE_BENCH_WORKLOAD'];
  if (reference === undefined || reference === '')
    throw new Error('PODFERRY_IMAGE_BENCH_WORKLOAD is not set: run this by hack/bench.sh');
  return reference;
}

interface Move {
  /** The longest time in which the application did not run, as it saw it. */
  readonly freezeMs: number;
  readonly status: MigrationStatus;
}

async function follow(pod: Pod): Promise<LogFollower> {
  return followLog(namespace, pod.metadata.name, container);
}

/** What there is to know of a move that failed, before the namespace is gone. */
async function tellWhy(bench: Bench): Promise<void> {
  const ask = async (...args: readonly string[]): Promise<void> =>
    bench.say(await kubectl(args, { timeoutMs: 20_000 }).catch((error: unknown) => String(error)));
  await ask('get', 'pods,migrations.migration.io', '-n', namespace, '-o', 'wide');
  await ask('get', 'migrations.migration.io', '-n', namespace, '-o', 'jsonpath={range .items[-1:]}{.status}{end}');
  const names = await kubectl(['get', 'pods', '-n', namespace, '-o', 'name']);
  for (const name of names.split('\n').filter((word) => word !== '')) {
    bench.say(`agent of ${name}:`);
    await ask('logs', '-n', namespace, name, '-c', containers.agent, '--tail=15');
  }
}

/** Moves the pod to the other node and reads from its log how long it stood still. */
async function moveOnce(bench: Bench, name: string, pod: Pod): Promise<Move & { readonly pod: Pod }> {
  const source = await follow(pod);
  try {
    const { status } = await move(namespace, pod, await otherNode(pod.spec.nodeName), readyMs).catch(
      async (error: unknown) => {
        await tellWhy(bench);
        throw error;
      },
    );
    const moved = await onlyPod(namespace, name, readyMs);
    const target = await follow(moved);
    try {
      const gaps = await until('the application notices its move', async () => {
        const found = parseGaps(target.lines);
        return found.length > 0 && found;
      });
      return { freezeMs: Math.max(...gaps), status, pod: moved };
    } finally {
      target.stop();
    }
  } finally {
    source.stop();
  }
}

/** Has the workload look at all its pages in its pod. */
async function assertIntact(pod: Pod, pid: number): Promise<void> {
  const name = pod.metadata.name;
  await kubectl(['exec', '-n', namespace, name, '-c', container, '--', '/workload', 'check', String(pid)]);
  const log = await follow(pod);
  try {
    const line = await until('the check', async () => log.lines.find((text) => text.startsWith('check ')));
    const { bad, pages } = parseCheck(line);
    if (bad > 0) throw new Error(`${bad} of ${pages} pages are wrong after the moves`);
  } finally {
    log.stop();
  }
}

async function movesOf(bench: Bench, { mib, percentPerSecond, moves }: Case): Promise<readonly Move[]> {
  const name = `workload-${mib}-${percentPerSecond}`;
  const command = ['/workload', String(mib), String(percentPerSecond)];
  await apply(deployment({ namespace, name, image: image(), container: { command } }));
  try {
    let pod = await onlyPod(namespace, name, readyMs);
    const log = await follow(pod);
    const pid = await until('the workload holds its memory', async () => parsePid(log.lines), readyMs);
    log.stop();
    const done: Move[] = [];
    for (let nth = 1; nth <= moves; nth++) {
      const one = await moveOnce(bench, name, pod);
      ({ pod } = one);
      bench.say(`freeze ${nth}/${moves}: ${one.freezeMs} ms, order to run ${one.status.downtimeMs} ms`);
      done.push(one);
    }
    await assertIntact(pod, pid);
    return done;
  } finally {
    await kubectl(['delete', 'deployment', '-n', namespace, name, '--timeout=60s'], { timeoutMs: 70_000 });
  }
}

/** Gigabytes for each case: a small store would be full after a few. */
async function deleteCheckpoints({ settings }: Bench): Promise<void> {
  const store = createS3Store(settings);
  try {
    await deleteBelow(store, `${storePrefix}/${namespace}/`);
  } finally {
    store.close();
  }
}

const totalMs = ({ status }: Move): number => Date.parse(status.completedAt ?? '') - Date.parse(status.startedAt ?? '');

/** Whole moves between the two nodes of the cluster, and plain CRIU's on this machine, with the same store. */
export async function freeze(bench: Bench): Promise<readonly Result[]> {
  const results: Result[] = [];
  const undo = async (): Promise<void> => {
    await deleteNamespace(namespace);
    await deleteCheckpoints(bench);
  };
  await createNamespace(namespace);
  bench.undo.add(undo);
  try {
    const available = await availableMib();
    for (const one of cases(bench.wanted)) {
      if (one.mib * copies + reserveMib > available) {
        bench.say(`freeze ${sizeName(one.mib)}: left out, ${Math.round(available)} MiB are too little`);
        continue;
      }
      const name = `${sizeName(one.mib)}-${one.percentPerSecond}%`;
      const moves = await movesOf(bench, one);
      const plain = await plainMoves(bench, one);
      const laps: readonly (readonly Lap[])[] = moves.map(({ status }) => status.timeline ?? []);
      results.push(
        {
          ...{ case: name, metric: 'freezeMs', ...summarize(moves.map(({ freezeMs }) => freezeMs)) },
          ...{ baseline: { case: 'criu+files', p50: median(plain) }, steps: medianLaps(laps) },
        },
        {
          case: name,
          metric: 'orderToRunMs',
          ...summarize(moves.map(({ status }) => status.downtimeMs ?? Number.NaN)),
        },
        { case: name, metric: 'wholeMoveMs', ...summarize(moves.map(totalMs)) },
      );
    }
  } finally {
    bench.undo.delete(undo);
    await undo();
  }
  return results;
}
