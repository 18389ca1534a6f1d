import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { firstAppPid } from '../../proto/names.ts';
import type { Order } from '../../proto/gen/agent/v1/agent.ts';
import type { RestoreRun } from '../checkpoint/restore-tree.ts';
import { restoreCheckpoint } from '../checkpoint/restore.ts';
import { unpackFiles } from '../files/archive.ts';
import { cgroupProcsFiles } from '../launch/cgroup.ts';
import { raisePidCounter } from '../launch/pid-counter.ts';
import { applicationTree } from '../launch/process-tree.ts';
import { runSupervised } from '../launch/supervise.ts';
import type { OrderContext, OrderResult } from './context.ts';
import { criuInAgent, criuInApp } from './criu-commands.ts';

/**
 * RESTORE: restores the checkpoint inside the application container's namespaces and cgroups with every page in, and leaves it
 * stopped until CONTINUE. On failure nothing of it is left alive.
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
  const tree = await restoreCheckpoint({
    criu: criuInAgent(agentRoot, config.criuPreload),
    runRestore,
    firstInheritedFd: 3,
    store: home.store,
    ref: order.checkpoint,
    instance: home.welcome.instance,
    stdioPid: placeholder.pid,
    workDir: join(config.workDir, 'restore'),
    unpackFiles: (archive, deleted, _signal) =>
      unpackFiles(place, archive, deleted, { deadlineMs: context.deadlineMs, cgroupProcs }),
    deadlineMs: context.deadlineMs,
    signal: context.signal,
  });
  // New children must get pids above the restored ones, or the next generation finds them taken by low, recycled numbers.
  await raisePidCounter(Math.max(firstAppPid, ...tree.pids));
  const wasStopped = new Set(tree.stoppedBefore);
  const { processes } = applicationTree(tree.rootPid);
  const stopped = processes.filter(({ pid }) => !wasStopped.has(pid)).map(({ pid, startTime }) => ({ pid, startTime }));
  return {
    journal: { role: 'restored', appPid: tree.rootPid, stopped },
    transfer: {
      pageBytes: BigInt(tree.pageBytes),
      storedBytes: BigInt(tree.storedBytes),
      fileBytes: BigInt(tree.fileBytes),
      freezeMs: 0,
      tookMs: tree.tookMs,
      timeline: [...tree.timeline],
    },
  };
}
