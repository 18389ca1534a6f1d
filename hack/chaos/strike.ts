import { setTimeout as delay } from 'node:timers/promises';
import { assertNever } from '../../proto/errors.ts';
import type { Cluster } from './cluster.ts';
import type { Fault, Victim } from './faults.ts';
import type { Gateway } from './gateway.ts';
import { phases, type Phase, type Progress } from './move.ts';
import { signal, type Known } from './processes.ts';

const lookEveryMs = 2;

/** What became of a fault. */
export interface Struck {
  /** In which the victim was killed; undefined when it was never there. */
  readonly phase: Phase | undefined;
}

const isSupervisor = (words: readonly string[]): boolean => words[1] === 'supervise' || words[1] === 'within';
const isCriu = (words: readonly string[], command: string): boolean =>
  !isSupervisor(words) && words.some((word) => word.endsWith('/criu')) && words.includes(command);

function findVictim(victim: Victim, cluster: Cluster, sourceUid: string, progress: Progress): Known | undefined {
  const source = cluster.pod(sourceUid);
  const target = progress.targetUid === undefined ? undefined : cluster.pod(progress.targetUid);
  switch (victim) {
    case 'source agent':
      return source?.agent();
    case 'target agent':
      return target?.agent();
    case 'criu dump':
      return source?.find((words) => isCriu(words, 'dump'))[0];
    case 'criu restore':
      return target?.find((words) => isCriu(words, 'restore'))[0];
    case 'page-server':
      return target?.find((words) => words[1] === 'fill-pages')[0];
    case 'store':
      return undefined;
    default:
      return assertNever(victim);
  }
}

/** Waits for the fault's moment and strikes; to be started beside the move. Resolves when what must be put right again is. */
export async function strike(
  fault: Fault,
  cluster: Cluster,
  sourceUid: string,
  progress: Progress,
  gateway: Gateway,
): Promise<Struck> {
  const isOver = (): boolean => progress.phase === 'over';
  while (!isOver() && phases.indexOf(progress.phase) < phases.indexOf(fault.phase)) await delay(lookEveryMs);
  const isOfCriu = fault.victim.startsWith('criu') || fault.victim === 'page-server';
  if (!isOfCriu) await delay(fault.afterMs);
  if (fault.victim === 'store') {
    const { phase } = progress;
    await gateway.kill();
    await delay(fault.pauseMs);
    await gateway.start();
    return { phase };
  }
  let hasWaited = !isOfCriu;
  while (!isOver()) {
    const found = findVictim(fault.victim, cluster, sourceUid, progress);
    if (found !== undefined) {
      if (!hasWaited) await delay(fault.afterMs);
      hasWaited = true;
      const { phase } = progress;
      if (signal(found, 'SIGKILL')) return { phase };
      if (isOfCriu) return { phase: undefined };
    }
    await delay(lookEveryMs);
  }
  return { phase: undefined };
}
