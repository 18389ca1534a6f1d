import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import type { PstreeEntry } from '../../proto/gen/criu/images.ts';
import { readProcess } from '../launch/proc-stat.ts';

const pollMs = 10;

/**
 * Checks that each process and thread of a checkpoint can have its number again.
 * @throws PodferryError PID_IN_USE; a process that ended but was not waited for holds its number, too
 */
export function assertPidsFree(processes: readonly PstreeEntry[]): void {
  for (const id of processes.flatMap((process) => [process.pid, ...process.threads])) {
    if (existsSync(`/proc/${id}`)) {
      throw new PodferryError('PID_IN_USE', `pid ${id} of the application is taken in this pod`, { pid: id });
    }
  }
}

/** Kills what there is of a tree, root last. Numbers that nobody has are passed over. */
export function killPids(pids: readonly number[]): void {
  for (const pid of pids.toReversed()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Resolves to whether all processes have ended (or are zombies) within the time. */
export async function endedWithin(pids: readonly number[], withinMs: number): Promise<boolean> {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const states = pids.map((pid) => readProcess(pid)?.state);
    if (states.every((state) => state === undefined || state === 'Z' || state === 'X')) return true;
    if (performance.now() >= endsAt) return false;
    await delay(pollMs);
  }
}
