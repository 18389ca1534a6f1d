import { readFileSync, readdirSync } from 'node:fs';

/** A line of /proc/PID/stat, as far as Podferry needs it. */
export interface Process {
  readonly pid: number;
  readonly parentPid: number;
  /** Clock ticks since boot, decimal: with the pid it names one process for ever. */
  readonly startTime: string;
  /** `R` running, `S` sleeping, `D` in the kernel, `T` stopped, `t` traced, `Z` zombie, `X` dead. */
  readonly state: string;
  readonly threads: number;
  readonly name: string;
}

/** What identifies a process beyond its number. */
export type ProcessId = Pick<Process, 'pid' | 'startTime'>;

/**
 * Parses /proc/PID/stat. The name in parentheses may itself hold spaces and parentheses, so fields count from the last one.
 * @returns undefined for text that is no such line
 * @see proc_pid_stat(5)
 */
export function parseStat(text: string): Process | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  const fields = text.slice(close + 2).split(' ');
  const [state, parentPid] = fields;
  const [threads, startTime] = [fields[17], fields[19]];
  if (state === undefined || parentPid === undefined || threads === undefined || startTime === undefined) {
    return undefined;
  }
  return {
    pid: Number(text.slice(0, open)),
    parentPid: Number(parentPid),
    startTime: startTime.trim(),
    state,
    threads: Number(threads),
    name: text.slice(open + 1, close),
  };
}

/** The error codes by which /proc says that the process has ended meanwhile. */
export function hasVanished(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOENT' || error.code === 'ESRCH' || error.code === 'ENOTDIR')
  );
}

/**
 * One process, or undefined when there is none of this pid.
 * Synchronous: /proc answers from memory, and a tree must be read faster than it changes.
 */
export function readProcess(pid: number, proc = '/proc'): Process | undefined {
  try {
    return parseStat(readFileSync(`${proc}/${pid}/stat`, 'latin1'));
  } catch (error) {
    if (hasVanished(error)) return undefined;
    throw error;
  }
}

/** The pids that /proc lists now. */
export function listPids(proc = '/proc'): number[] {
  return readdirSync(proc)
    .filter((name) => /^[1-9]\d*$/.test(name))
    .map(Number);
}

/** Every process of the pid namespace that `proc` shows. */
export function readProcesses(proc = '/proc'): Process[] {
  return listPids(proc).flatMap((pid) => readProcess(pid, proc) ?? []);
}

/** True while this very process exists, as a zombie too. */
export function exists(id: ProcessId, proc = '/proc'): boolean {
  return readProcess(id.pid, proc)?.startTime === id.startTime;
}

/** States of the threads of a process; empty when it has ended. */
export function threadStates(pid: number, proc = '/proc'): string[] {
  try {
    return readdirSync(`${proc}/${pid}/task`).flatMap(
      (thread) => readProcess(Number(thread), `${proc}/${pid}/task`)?.state ?? [],
    );
  } catch (error) {
    if (hasVanished(error)) return [];
    throw error;
  }
}
