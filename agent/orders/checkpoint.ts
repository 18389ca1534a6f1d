import { join } from 'node:path';
import { PodferryError } from '../../proto/errors.ts';
import { errorFields } from '../../proto/logging.ts';
import type { Order } from '../../proto/gen/agent/v1/agent.ts';
import { takeCheckpoint } from '../checkpoint/take.ts';
import { packFiles } from '../files/archive.ts';
import { changesSince } from '../files/changes.ts';
import { listFiles, loadListing } from '../files/listing.ts';
import { alreadyStopped, applicationTree, continueTree, type ApplicationTree } from '../launch/process-tree.ts';
import { sourceLog } from '../telemetry/figures.ts';
import { baselineFile } from './baseline.ts';
import type { OrderContext, OrderResult } from './context.ts';
import { criuInApp } from './criu-commands.ts';
import { newLogs } from './logs.ts';
import { takeMemory } from './memory.ts';
import { roundLimits } from './precopy.ts';
import { transferOf } from './transfer.ts';

/** A listing or an archive that takes longer than this inside the freeze is a fault. */
const filesDeadlineMs = 60_000;

/** Even without PRECOPY. After it, one or two bring what it left up to date. */
const maxRounds = 5;

/** Of the checkpoint that is being taken. Only the agent's container has it. */
export const dumpDir = (workDir: string): string => join(workDir, 'dump');

/**
 * CHECKPOINT: stops the tree, stores a complete checkpoint, leaves the tree stopped; or, when the order says so, continues it as soon as everything is read.
 * On any failure the tree is continued before this rejects: the source never depends on the store.
 */
export async function checkpoint(order: Order, context: OrderContext): Promise<OrderResult> {
  const { config, journal, placeholder, agentRoot } = context;
  if (order.checkpoint === undefined) throw new PodferryError('INTERNAL', 'a checkpoint was ordered without an id');
  const rootPid = journal.appPid;
  if (rootPid === undefined)
    throw new PodferryError('APP_NOT_RUNNING', `nothing runs in container ${config.original.container}`);

  const place = { placeholderPid: placeholder.pid, agentRoot };
  const baseline = await loadListing(baselineFile(config.workDir));
  const before = applicationTree(rootPid);
  const wasStopped = new Set(alreadyStopped(before).map(({ pid }) => pid));
  const running = (tree: ApplicationTree) => tree.processes.filter(({ pid }) => !wasStopped.has(pid));
  const { session: memory, purpose, store, welcome, sealing } = await takeMemory(order, context);
  const logs = newLogs(order, context);
  const isLeftRunning = order.leaveRunning === true;
  let isContinued = false;
  try {
    const taken = await takeCheckpoint({
      criu: criuInApp(placeholder.pid, agentRoot, config.criuPreload),
      store,
      keyPrefix: welcome.keyPrefix,
      id: order.checkpoint.id,
      sealing,
      generation: welcome.generation,
      facts: context.facts,
      rootPid,
      stdioPid: placeholder.pid,
      stoppedBefore: [...wasStopped],
      workDir: dumpDir(config.workDir),
      memory,
      rounds: roundLimits(order.options, maxRounds),
      files: async () => {
        const changes = changesSince(baseline, await listFiles(place, config.dataDirs, filesDeadlineMs));
        const { changed, deleted } = changes;
        if (changed.length + deleted.length === 0) return undefined;
        return { archive: packFiles(place, changed, filesDeadlineMs), deleted };
      },
      ...(isLeftRunning && {
        onCaptured: () => {
          continueTree(running(applicationTree(rootPid)));
          isContinued = true;
        },
      }),
      compresses: order.options?.off.includes('compression') !== true,
      ...logs.collect,
      deadlineMs: context.deadlineMs,
      signal: context.signal,
    });
    logs.keep({
      root: before.root,
      figures: (how) => sourceLog({ ...taken.transfer, liveRounds: memory.rounds }, how),
    });
    // Should the move be rolled back, the next one begins with this checkpoint.
    context.memory.remember(taken.baseline, purpose);
    const stopped = isContinued
      ? []
      : running(applicationTree(rootPid)).map(({ pid, startTime }) => ({ pid, startTime }));
    const { transfer } = taken;
    return {
      journal: { role: isContinued ? 'serving' : 'frozen', stopped, checkpoint: taken.ref },
      transfer: transferOf({ ...transfer, timeline: [...transfer.timeline] }),
    };
  } catch (error) {
    context.log.warn('checkpoint failed; the application continues', errorFields(error));
    if (!isContinued) continueTree(running(applicationTree(rootPid)));
    throw error;
  } finally {
    // Kept any longer it could name packs that retention has removed with this checkpoint.
    // Not waited for: the kernel takes long to end the tracking of much memory, and nobody depends on that.
    void memory
      .close()
      .catch((error: unknown) => context.log.warn('a memory session did not close', errorFields(error)));
  }
}
