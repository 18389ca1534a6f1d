import { readFileSync } from 'node:fs';
import { hasVanished, readProcess } from '../../agent/launch/proc-stat.ts';

/** One process for ever: a pid alone may be somebody else's by now. */
export interface Known {
  readonly pid: number;
  readonly startTime: string;
}

export interface Found extends Known {
  readonly parentPid: number;
  readonly words: readonly string[];
}

/** undefined when it has ended. */
export function identify(pid: number): Known | undefined {
  const found = readProcess(pid);
  return found === undefined || found.state === 'Z' ? undefined : { pid, startTime: found.startTime };
}

export const hasEnded = (pid: number): boolean => identify(pid) === undefined;

/** @returns false when it has ended meanwhile */
export function signal({ pid, startTime }: Known, name: NodeJS.Signals): boolean {
  if (identify(pid)?.startTime !== startTime) return false;
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch (error) {
    if (hasVanished(error)) return [];
    throw error;
  }
}

/** All processes of a container, oldest first, by the name of its cgroup; pids are of outside. */
export function processesOf(cgroup: string): Found[] {
  return pidsIn(cgroup)
    .flatMap((pid): Found[] => {
      const stat = readProcess(pid);
      if (stat === undefined || stat.state === 'Z') return [];
      return [{ pid, startTime: stat.startTime, parentPid: stat.parentPid, words: wordsOf(pid) }];
    })
    .toSorted((a, b) => Number(BigInt(a.startTime) - BigInt(b.startTime)) || a.pid - b.pid);
}

/** Kills whatever is in a cgroup; `false` when there is nothing (any more). */
export function killGroup(cgroup: string): boolean {
  const pids = pidsIn(cgroup);
  for (const known of pids.flatMap((pid) => identify(pid) ?? [])) signal(known, 'SIGKILL');
  return pids.length > 0;
}

function pidsIn(cgroup: string): number[] {
  for (const hierarchy of ['/sys/fs/cgroup/pids', '/sys/fs/cgroup']) {
    try {
      const text = readFileSync(`${hierarchy}/${cgroup}/cgroup.procs`, 'utf8').trim();
      return text === '' ? [] : text.split('\n').map(Number);
    } catch (error) {
      if (!hasVanished(error)) throw error;
    }
  }
  return [];
}

function wordsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
  } catch {
    return []; // it has ended
  }
}
