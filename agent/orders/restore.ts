import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import { errorFields } from '../../proto/logging.ts';
import { firstAppPid } from '../../proto/names.ts';
import type { Lazy, Order } from '../../proto/gen/agent/v1/agent.ts';
import type { LazyCare, RestoreRun } from '../checkpoint/restore-tree.ts';
import { restoreCheckpoint, type Drained } from '../checkpoint/restore.ts';
import { unpackFiles } from '../files/archive.ts';
import { cgroupProcsFiles } from '../launch/cgroup.ts';
import { hold } from '../launch/channel.ts';
import { guardFaults } from '../launch/fault-guard.ts';
import { raisePidCounter } from '../launch/pid-counter.ts';
import { applicationTree } from '../launch/process-tree.ts';
import { runSupervised } from '../launch/supervise.ts';
import { sealingOf } from '../store/sealing.ts';
import { targetLog } from '../telemetry/figures.ts';
import type { OrderContext, OrderResult } from './context.ts';
import { newLogs } from './logs.ts';
import { purposeOf } from './memory.ts';
import { transferOf } from './transfer.ts';
import { criuInAgent, criuInApp } from './criu-commands.ts';

const guardDeadlineMs = 2_000;
const holdDeadlineMs = 1_000;

/** Before this attempt's pages are in, the container must not end with a tree that is killed to be restored again. */
async function holdContainer({ placeholder, log }: OrderContext): Promise<void> {
  try {
    await hold(placeholder, true, holdDeadlineMs);
  } catch (error) {
    log.warn('the container cannot be held: it restarts when its incomplete application is killed', errorFields(error));
  }
}

/**
 * RESTORE: restores the checkpoint inside the application container's namespaces and cgroups, and leaves it stopped until CONTINUE. With a lazy
 * strategy pages still arrive afterwards: see `drain` of the result. On failure nothing of it is left alive.
 */
export async function restore(order: Order, context: OrderContext): Promise<OrderResult> {
  const { config, home, placeholder, agentRoot } = context;
  if (home === undefined)
    throw new PodferryError('INTERNAL', 'a restore was ordered before the operator named a store');
  if (order.checkpoint === undefined) throw new PodferryError('INTERNAL', 'a restore was ordered without a checkpoint');

  const place = { placeholderPid: placeholder.pid, agentRoot };
  const cgroupProcs = await cgroupProcsFiles(placeholder.pid);
  const inApp = criuInApp(placeholder.pid, agentRoot, config.criuPreload);
  const runRestore = async (run: RestoreRun): Promise<void> => {
    const command = inApp.command(run.args);
    const { exitCode, stderr } = await runSupervised({
      placeholder,
      rootPid: run.rootPid,
      cgroupProcs,
      command,
      inheritedFds: run.fds,
      deadlineMs: run.deadlineMs,
    });
    if (exitCode !== 0)
      throw new PodferryError('CRIU_RESTORE_FAILED', `criu restore exited with ${exitCode}: ${stderr.trim()}`, {
        exitCode,
      });
  };
  const isFull = order.options?.strategy === 'full';
  const off = new Set(order.options?.off);
  const rootOf = { entrypointPid: placeholder.pid, cgroupProcs, deadlineMs: guardDeadlineMs };
  const lazy: LazyCare = {
    guard: (rootPid, fillerPid) => guardFaults({ ...rootOf, rootPid, fillerPid }),
    beforeKill: () => holdContainer(context),
  };
  const logs = newLogs(order, context);
  const tree = await restoreCheckpoint({
    criu: criuInAgent(agentRoot, config.criuPreload),
    runRestore,
    firstInheritedFd: 3,
    store: home.store,
    ref: order.checkpoint,
    sealing: sealingOf(home.welcome),
    stdioPid: placeholder.pid,
    workDir: join(config.workDir, 'restore'),
    unpackFiles: (archive, deleted, _signal) =>
      unpackFiles(place, archive, deleted, { deadlineMs: context.deadlineMs, cgroupProcs }),
    ...(isFull ? {} : { lazy }),
    ...(off.has('asyncPrefetch') ? { prefetchWorkers: 0 } : {}),
    faultPromotion: !off.has('faultPromotion'),
    hotSeed: !off.has('hotSeed'),
    kit: context.kits.take(),
    ...logs.collect,
    deadlineMs: context.deadlineMs,
    signal: context.signal,
  }).catch((error: unknown) => {
    logs.keep({ root: undefined });
    throw error;
  });
  // New children must get pids above the restored ones, or the next generation finds them taken by low, recycled numbers.
  await raisePidCounter(Math.max(firstAppPid, ...tree.pids));
  const wasStopped = new Set(tree.stoppedBefore);
  const { processes } = applicationTree(tree.rootPid);
  const stopped = processes.filter(({ pid }) => !wasStopped.has(pid)).map(({ pid, startTime }) => ({ pid, startTime }));
  const moved = {
    pageBytes: tree.pageBytes,
    fileBytes: tree.fileBytes,
    tookMs: tree.tookMs,
    timeline: [...tree.timeline],
  };
  const root = processes.find(({ pid }) => pid === tree.rootPid);
  logs.keep({ root, figures: async (how) => targetLog({ ...moved, ...(await tree.drained) }, how) });
  const journal = { role: 'restored', appPid: tree.rootPid, stopped } as const;
  const remembered = tree.drained.then((drained) => {
    context.memory.remember(() => drained.baseline, purposeOf(tree.rootPid, home.welcome));
    return drained;
  });
  if (isFull) {
    await remembered;
    return { journal, transfer: transferOf({ ...moved, storedBytes: tree.storedBytes }) };
  }
  const done = remembered.then((drained) =>
    transferOf({ ...moved, storedBytes: drained.storedBytes, lazy: lazyOf(drained) }),
  );
  done.catch(() => undefined); // whoever follows the drain hears of it
  const prepare = async (): Promise<void> => {
    await setImmediate(); // the report of the order's end is on its way first: starting a process takes a while
    const unguarded = await tree.prepare();
    if (unguarded === undefined) return;
    context.log.warn('restored in full: an incomplete process cannot be guarded', errorFields(unguarded));
  };
  return {
    journal: { ...journal, draining: true, restoredFrom: order.checkpoint },
    transfer: transferOf({ ...moved, storedBytes: tree.storedBytes }),
    drain: { done, prepare, fill: tree.fill },
  };
}

function lazyOf({ drainMs, counts }: Drained): Lazy {
  const { servedPages: _served, faults, aheadHits, aheadMisses, directFaults, hotPages, ...stalls } = counts;
  return {
    ...stalls,
    drainMs,
    faults: BigInt(faults),
    faultPages: BigInt(faults), // CRIU asks for a touched page alone
    aheadHits: BigInt(aheadHits),
    aheadMisses: BigInt(aheadMisses),
    directFaults: BigInt(directFaults),
    hotPages: BigInt(hotPages),
  };
}
