import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { hasVanished, readProcess } from '../launch/proc-stat.ts';
import { applicationTree } from '../launch/process-tree.ts';

const lookEveryMs = 2;

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (error) {
    if (hasVanished(error)) return [];
    throw error;
  }
}

/** Whether every thread was seen held by a tracer. One that was stays held: when it runs, then code of the tracer's. */
function look(rootPid: number, seen: Set<number>): boolean {
  let isComplete = true;
  for (const { pid, state } of applicationTree(rootPid).processes) {
    if (state === 'Z' || state === 'X') continue;
    for (const thread of threadsOf(pid)) {
      if (seen.has(thread)) continue;
      if (readProcess(thread, `/proc/${pid}/task`)?.state === 't') seen.add(thread);
      else isComplete = false;
    }
  }
  return isComplete;
}

/**
 * Waits until CRIU holds every thread of the tree: from then on the memory does not change.
 * @returns performance.now() when the first of them was seen held; undefined when the signal came before the last
 * @throws PodferryError APP_NOT_RUNNING when the root has ended
 */
export async function untilHeld(rootPid: number, signal: AbortSignal): Promise<number | undefined> {
  const seen = new Set<number>();
  let firstAt: number | undefined;
  while (!signal.aborted) {
    // The second look finds what a thread has made just before it was held.
    if (look(rootPid, seen) && look(rootPid, seen)) return firstAt ?? performance.now();
    if (seen.size > 0) firstAt ??= performance.now();
    await delay(lookEveryMs);
  }
  return undefined;
}
