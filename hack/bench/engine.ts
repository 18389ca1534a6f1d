import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { restoreCheckpoint } from '../../agent/checkpoint/restore.ts';
import { takeCheckpoint, type TakenCheckpoint } from '../../agent/checkpoint/take.ts';
import { guardFaults } from '../../agent/launch/fault-guard.ts';
import type { MemorySession } from '../../agent/memory/session.ts';
import type { Store } from '../../agent/store/store.ts';
import { sealingFor } from '../../test/fakes/sealing.ts';
import { continueAll, killTree } from '../../test/integration/agent/criu/rig.ts';
import { intoContainer, type Stage } from './setting.ts';
import type { Lap } from './statistics.ts';
import { Workload } from './workload.ts';

const deadlineMs = 300_000;
const sealing = sealingFor('bench');
const facts = { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] };

/** A point in the store, as the agent takes it, and what it cost. */
export interface Point {
  readonly ref: TakenCheckpoint['ref'];
  readonly pageBytes: number;
  readonly storedBytes: number;
  /** From the order to the manifest. */
  readonly tookMs: number;
  readonly laps: readonly Lap[];
}

/**
 * Takes a point of the stage's process through the agent's own code. The process is left stopped.
 * @param memory what points before it have learned of the process; without it everything is stored
 */
export async function takePoint({ rig, store, prefix, workload }: Stage, memory?: MemorySession): Promise<Point> {
  const { ref, transfer } = await takeCheckpoint({
    criu: rig.criu,
    store,
    keyPrefix: `${prefix}points/`,
    id: randomUUID(),
    sealing,
    generation: 0,
    facts,
    rootPid: workload.pid,
    stdioPid: workload.container.pid,
    stoppedBefore: [],
    workDir: join(rig.dir, 'take'),
    ...(memory === undefined ? {} : { memory }),
    deadlineMs,
  });
  const { pageBytes, storedBytes, tookMs, timeline } = transfer;
  return { ref, pageBytes, storedBytes, tookMs, laps: timeline };
}

/** A process restored from a point. */
export interface Restored {
  readonly workload: Workload;
  /** From the order until it ran. */
  readonly runningMs: number;
  readonly laps: readonly Lap[];
  /** Resolves when all its pages are in. */
  readonly drained: Promise<Drain>;
}

/** The end of a lazy restore. */
export interface Drain {
  /** Since the order. */
  readonly ms: number;
  readonly faults: number;
  /** How long faults waited for their pages, as the page server saw it. */
  readonly stallP99Ms: number;
  readonly stallMaxMs: number;
}

/** Restores a point lazily through the agent's own code, and lets it run. */
export async function restorePoint(on: Stage, store: Store, ref: Point['ref'], pid: number): Promise<Restored> {
  const binary = on.rig.placeholder;
  const { container, restored } = await intoContainer(on, pid, async (target) => {
    const startedAt = performance.now();
    const sinceStart = (): number => performance.now() - startedAt;
    const tree = await restoreCheckpoint({
      criu: on.rig.criu,
      runRestore: on.rig.runRestore,
      binary,
      firstInheritedFd: 3,
      store,
      ref,
      sealing,
      stdioPid: target.pid,
      workDir: join(on.rig.dir, `restore-${randomUUID()}`),
      lazy: {
        guard: (rootPid, fillerPid) =>
          guardFaults({ entrypointPid: target.pid, rootPid, fillerPid, cgroupProcs: [], binary, deadlineMs: 10_000 }),
      },
      deadlineMs,
    });
    const unguarded = await tree.prepare();
    if (unguarded !== undefined) throw unguarded;
    continueAll(tree.pids);
    tree.fill();
    const runningMs = sinceStart();
    const drained = tree.drained.then(({ counts }) => ({
      ms: sinceStart(),
      faults: counts.faults,
      stallP99Ms: counts.stallP99Us / 1000,
      stallMaxMs: counts.stallMaxUs / 1000,
    }));
    return { runningMs, laps: tree.timeline, drained };
  });
  return { workload: new Workload(container, pid), ...restored };
}

/** Lets the process run on after takePoint. */
export const goOn = (workload: Workload): void => continueAll([workload.pid]);

/** Ends a process, for another copy of it to come. */
export const end = (workload: Workload): Promise<void> => killTree(workload.pid);

/** Lets the machine come to rest between measurements: the store still works on what it was given. */
export const rest = (): Promise<void> => delay(300);
