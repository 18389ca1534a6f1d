import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import { exists, readProcess, readProcesses, threadStates, type Process, type ProcessId } from './proc-stat.ts';

export interface ApplicationTree {
  readonly root: Process;
  /** The root first, parents before their children, zombies included. */
  readonly processes: readonly Process[];
}

/** Between two looks at /proc: the kernel stops and kills in well under a millisecond, unless a process is inside it. */
const lookEveryMs = 1;

/**
 * The application's root process and all that descends from it. Orphans stay in the tree: the placeholder starts the root as
 * their subreaper.
 * @throws PodferryError APP_NOT_RUNNING when there is no such process
 */
export function applicationTree(rootPid: number, proc = '/proc'): ApplicationTree {
  const all = readProcesses(proc);
  const root = all.find((process) => process.pid === rootPid);
  if (root === undefined) {
    throw new PodferryError('APP_NOT_RUNNING', `there is no process ${rootPid}`, { pid: rootPid });
  }
  const processes = [root];
  for (let i = 0; i < processes.length; i++) {
    processes.push(...all.filter((process) => process.parentPid === processes[i]?.pid));
  }
  return { root, processes };
}

/** The processes of the tree that are stopped now, by the application itself: they must stay so when the tree continues. */
export function alreadyStopped(tree: ApplicationTree): readonly Process[] {
  return tree.processes.filter((process) => process.state === 'T');
}

/**
 * Stops the tree (SIGSTOP) until nothing of it runs, children that appear meanwhile included.
 * @returns the processes it stopped, for continueTree
 * @throws PodferryError PROCESS_UNFREEZABLE after the deadline, with what was stopped continued again; APP_NOT_RUNNING
 */
export async function stopTree(rootPid: number, deadlineMs: number): Promise<readonly Process[]> {
  const until = performance.now() + deadlineMs;
  const stopped = new Map<number, Process>();
  const before = new Set(alreadyStopped(applicationTree(rootPid)).map((process) => process.pid));
  for (;;) {
    const { processes } = applicationTree(rootPid);
    const alive = processes.filter((process) => !isDead(process));
    for (const process of alive) {
      if (before.has(process.pid) || stopped.has(process.pid)) continue;
      if (signal(process, 'SIGSTOP')) stopped.set(process.pid, process);
    }
    const running = alive.find((process) => !isStopped(process.pid));
    const isComplete = alive.every((process) => before.has(process.pid) || stopped.has(process.pid));
    // A second look: a child forked during the first is found only once its parent stands.
    if (running === undefined && isComplete && !hasGrown(rootPid, processes.length)) return [...stopped.values()];
    if (performance.now() > until) {
      continueTree([...stopped.values()]);
      const culprit = running ?? processes[0];
      throw new PodferryError(
        'PROCESS_UNFREEZABLE',
        `process ${culprit?.pid} (${culprit?.name}) did not stop within ${deadlineMs} ms`,
        { pid: culprit?.pid, name: culprit?.name, state: culprit?.state },
      );
    }
    await delay(lookEveryMs);
  }
}

/** Continues (SIGCONT) these processes, children before parents when given as applicationTree orders them; those that ended are skipped. */
export function continueTree(processes: readonly ProcessId[]): void {
  for (const process of [...processes].reverse()) signal(process, 'SIGCONT');
}

/**
 * Kills the root and all that descends from it, and waits until each is gone or is a zombie that someone outside the
 * tree will reap. Nothing happens when there is no such process.
 * @throws PodferryError DEADLINE_EXCEEDED
 */
export async function killTree(rootPid: number, deadlineMs: number): Promise<void> {
  const until = performance.now() + deadlineMs;
  const condemned = new Map<string, Process>();
  for (;;) {
    for (const process of descendants(rootPid, condemned)) condemned.set(idOf(process), process);
    // The youngest first: while its parent lives a process stays findable below the root.
    const left = [...condemned.values()].flatMap((process) => current(process) ?? []).reverse();
    for (const process of left) signal(process, 'SIGKILL');
    const isPending = (process: Process): boolean =>
      !isDead(process) || left.some((other) => other.pid === process.parentPid);
    const pending = left.filter(isPending);
    if (pending.length === 0) return;
    if (performance.now() > until) {
      const { pid, name, state } = pending[0] ?? {};
      const message = `process ${pid} (${name}, state ${state}) did not end within ${deadlineMs} ms`;
      throw new PodferryError('DEADLINE_EXCEEDED', message, { pid, name, state });
    }
    await delay(lookEveryMs);
  }
}

function descendants(rootPid: number, condemned: ReadonlyMap<string, Process>): readonly Process[] {
  const isOurs = (process: Process): boolean => process.pid === rootPid || condemned.has(idOf(process));
  const root = readProcess(rootPid);
  // After the first look a process of the root's pid may be somebody else's.
  if (root === undefined || (condemned.size > 0 && !isOurs(root))) return [];
  return applicationTree(rootPid).processes;
}

function idOf(process: ProcessId): string {
  return `${process.pid} ${process.startTime}`;
}

function current(id: ProcessId): Process | undefined {
  const process = readProcess(id.pid);
  return process?.startTime === id.startTime ? process : undefined;
}

function isDead(process: Process): boolean {
  return process.state === 'Z' || process.state === 'X';
}

function isStopped(pid: number): boolean {
  return threadStates(pid).every((state) => 'TtZX'.includes(state));
}

function hasGrown(rootPid: number, count: number): boolean {
  return applicationTree(rootPid).processes.length > count;
}

/** @returns false when the process has ended meanwhile */
function signal(target: ProcessId, name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): boolean {
  if (!exists(target)) return false;
  try {
    return process.kill(target.pid, name);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}
