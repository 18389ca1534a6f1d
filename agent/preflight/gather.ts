import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { hasVanished } from '../launch/proc-stat.ts';
import { parseMountinfo, type Mount } from '../launch/mounts.ts';
import { applicationTree } from '../launch/process-tree.ts';
import type { Facts } from './facts.ts';
import { kernelLacks } from './kernel.ts';
import { filesOf, namespacesOf, tracerOf, unstoppable } from './processes.ts';
import { socketsOf } from './sockets.ts';

const socketsDeadlineMs = 10_000;

/** A thread that waits for a disk, or that has just forked, is in the kernel for less. */
const stuckAfterMs = 500;

export interface GatherOptions {
  readonly rootPid: number;
  /** First process of the application's container. */
  readonly containerPid: number;
  /** The placeholder's program, which asks the kernel what /proc does not tell. */
  readonly binary: string;
  /** Version of the agent's CRIU; empty when it cannot be used. */
  readonly criu: string;
}

/**
 * Looks at the application while it runs; nothing of it is touched. What begins later is not seen.
 * @throws PodferryError APP_NOT_RUNNING; KERNEL_UNSUPPORTED when sockets cannot be listed
 */
export async function gatherFacts({ rootPid, containerPid, binary, criu }: GatherOptions): Promise<Facts> {
  const alive = applicationTree(rootPid).processes.filter(({ state }) => state !== 'Z' && state !== 'X');
  const pids = alive.map(({ pid }) => pid);
  const stuck = await stuckOf(pids);
  const processes = alive.map(({ pid, name }) => ({
    pid,
    name,
    files: filesOf(pid),
    tracer: tracerOf(pid),
    isStuck: stuck.has(pid),
    namespaces: namespacesOf(pid),
  }));
  return {
    criu,
    kernelLacks: kernelLacks(),
    processes,
    mounts: mountsOf(rootPid),
    containerNamespaces: namespacesOf(containerPid),
    ...(await socketsOf(binary, pids, socketsDeadlineMs)),
  };
}

/** Waits only when there is one to wait for. */
async function stuckOf(pids: readonly number[]): Promise<ReadonlySet<number>> {
  const before = new Map(pids.map((pid) => [pid, unstoppable(pid)]));
  const suspects = pids.filter((pid) => (before.get(pid) ?? []).length > 0);
  if (suspects.length === 0) return new Set();
  await delay(stuckAfterMs);
  return new Set(suspects.filter((pid) => unstoppable(pid).some((thread) => before.get(pid)?.includes(thread))));
}

function mountsOf(pid: number): readonly Mount[] {
  try {
    return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'latin1'));
  } catch (error) {
    if (hasVanished(error)) return [];
    throw error;
  }
}
