import { manifestKeys } from '../../agent/inspect/open.ts';
import { verifyCheckpoint } from '../../agent/inspect/verify.ts';
import { readProcess } from '../../agent/launch/proc-stat.ts';
import type { Sealing } from '../../agent/store/sealing.ts';
import type { Store } from '../../agent/store/store.ts';
import type { Strategy } from '../../proto/migration.ts';
import type { Cluster } from './cluster.ts';
import type { Fault } from './faults.ts';
import type { Gateway } from './gateway.ts';
import { move, type Phase, type Progress } from './move.ts';
import { until, type Pod } from './pod.ts';
import { signal } from './processes.ts';
import { restoreLater } from './restore-later.ts';
import { strike } from './strike.ts';
import { judge, parseLine, type Line, type Trace } from './trace.ts';

export interface RunSettings {
  readonly cluster: Cluster;
  readonly gateway: Gateway;
  readonly store: Store;
  readonly keyPrefix: string;
  readonly sealing: Sealing;
  /** Of the witness, by role. */
  readonly ids: ReadonlyMap<string, string>;
}

export interface RunResult {
  readonly fault: Fault;
  readonly strategy: Strategy;
  /** In which the victim was killed; undefined: it was not there to be killed. */
  readonly struckIn: Phase | undefined;
  readonly outcome: string;
  readonly failure: string | undefined;
  readonly rewinds: number;
  readonly wrong: readonly string[];
  readonly moveMs: number;
  readonly tookMs: number;
  /** The pod that has the process now; undefined: none. */
  readonly heirUid: string | undefined;
}

const checkMs = 30_000;
const settleMs = 90_000;

/** Moves the process once with one fault on the way, and looks at everything from outside. */
export async function runOnce(
  settings: RunSettings,
  sourceUid: string,
  fault: Fault,
  strategy: Strategy,
): Promise<RunResult> {
  const startedAt = performance.now();
  const { cluster, gateway, ids } = settings;
  const source = cluster.pod(sourceUid);
  if (source === undefined) throw new Error('there is no source');
  const heardBefore = source.lines.length;
  const progress: Progress = { phase: 'prepare', targetUid: undefined };
  const targets = new Set<Pod>();
  const noteTarget = (): void => {
    const pod = progress.targetUid === undefined ? undefined : cluster.pod(progress.targetUid);
    if (pod !== undefined) targets.add(pod);
  };
  const stopNoting = cluster.onChange(noteTarget);
  const striking = strike(fault, cluster, sourceUid, progress, gateway);
  const moved = await move(cluster, sourceUid, strategy, progress);
  const { phase: struckIn } = await striking;
  stopNoting();

  const wrong: string[] = [];
  let { outcome }: { outcome: string } = moved;
  if (struckIn === undefined && moved.outcome !== 'moved') wrong.push(`undisturbed, and yet ${moved.outcome}`);
  let heirUid: string | undefined = moved.outcome === 'moved' ? moved.targetUid : sourceUid;
  let heir = heirUid === undefined ? undefined : cluster.pod(heirUid);
  const isLost = moved.outcome === 'lost' || moved.outcome === 'stuck' || heir === undefined;
  if (isLost && moved.checkpoint !== undefined) {
    // the last resort: its checkpoint is complete
    for (const uid of cluster.uids) cluster.remove(uid);
    heirUid = await restoreLater(cluster, moved.checkpoint);
    heir = cluster.pod(heirUid);
    if (heir !== undefined) targets.add(heir);
    outcome = `${moved.outcome}, restored later`;
  } else if (isLost) wrong.push(`${moved.outcome}: ${moved.failure}`);

  if (heir !== undefined) {
    try {
      await settled(cluster, heirUid ?? '');
      wrong.push(...(await checkPages(heir, ids.size)), ...running(heir));
    } catch (error) {
      wrong.push(error instanceof Error ? error.message : String(error));
    }
  }
  await cluster.settled();
  wrong.push(...(await unreadable(settings)));
  const linesOf = (pod: Pod, from = 0): Line[] => pod.lines.slice(from).flatMap((line) => parseLine(line) ?? []);
  const traces: Trace[] = [
    { pod: 'source', lines: linesOf(source, heardBefore) },
    ...[...targets].map((pod): Trace => ({ pod: 'target', lines: linesOf(pod) })),
  ];
  const verdict = judge(traces, ids);
  if (verdict.rewinds > 0) outcome = `${outcome}, restored again`;
  return {
    fault,
    strategy,
    struckIn,
    outcome,
    failure: moved.failure,
    rewinds: verdict.rewinds,
    wrong: [...wrong, ...verdict.wrong],
    moveMs: moved.tookMs,
    tookMs: Math.round(performance.now() - startedAt),
    heirUid,
  };
}

/** The agent of the heir is there, says that the application runs, and has every page. */
async function settled(cluster: Cluster, uid: string): Promise<void> {
  await until(
    'an application that runs with all its pages',
    () => {
      const view = cluster.hub.agents.view(uid);
      return (view?.isConnected === true && view.state?.appPid !== 0 && view.state?.draining === false) || undefined;
    },
    settleMs,
  );
}

/** Lets the witness look at all its pages; what is wrong goes into its lines. @returns what else is wrong */
export async function checkPages(pod: Pod, processes: number): Promise<string[]> {
  const before = pod.lines.length;
  const root = pod.witnesses()[0];
  if (root === undefined) return ['nothing runs any more'];
  signal(root, 'SIGUSR1');
  const checks = await until(
    'the checks of all processes',
    () => {
      const found = pod.lines.slice(before).flatMap((text) => parseLine(text) ?? []);
      const all = found.filter((line) => line.kind === 'check');
      return new Set(all.map(({ role }) => role)).size === processes ? all : undefined;
    },
    checkMs,
  );
  return checks.filter(({ bad }) => bad > 0).map(({ role, bad }) => `${bad} wrong pages of ${role}`);
}

/** Both processes are there, and nothing holds them. */
function running(pod: Pod): string[] {
  const found = pod.witnesses();
  const states = found.map(({ pid }) => readProcess(pid)?.state ?? 'X');
  return found.length === 2 && states.every((state) => 'RSD'.includes(state))
    ? []
    : [`its processes are in the states ${states.join(' ')}`];
}

/** Every checkpoint that exists can be read whole. */
async function unreadable({ store, keyPrefix, sealing }: RunSettings): Promise<string[]> {
  const { signal: never } = new AbortController();
  const keys = await manifestKeys(store, keyPrefix, never);
  const found = await Promise.all(keys.map((key) => verifyCheckpoint(store, key, () => sealing.key, never)));
  return found.flat().map(({ key, code, message }) => `${key}: ${code} ${message}`);
}

/** Waits until a first pod's witness is up. */
export async function firstWords(pod: Pod): Promise<ReadonlyMap<string, string>> {
  return until('the witness', () => {
    const up = pod.lines.flatMap((text) => {
      const line = parseLine(text);
      return line?.kind === 'up' ? [[line.role, line.id] as const] : [];
    });
    return up.length === 2 ? new Map(up) : undefined;
  });
}
