import { randomUUID } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createS3Store, type ClosableStore, type S3Settings } from '../../agent/store/s3.ts';
import { killTree, Rig, type Container } from '../../test/integration/agent/criu/rig.ts';
import type { Wanted } from './cases.ts';
import { deleteBelow } from './objects.ts';
import { Workload, type Load } from './workload.ts';

/** What a benchmark runs with. */
export interface Bench {
  readonly wanted: Wanted;
  /** @throws Error when there is no store */
  readonly settings: S3Settings;
  /** File for the API server without nodes. */
  readonly kubeconfig: string;
  readonly say: (text: string) => void;
  /** What an interrupted run must still undo. */
  readonly undo: Set<() => Promise<void>>;
}

/** One process to be measured, with a store and room on tmpfs; all of it is gone after close(). */
export interface Stage {
  readonly rig: Rig;
  readonly store: ClosableStore;
  /** Of this stage's objects, ending in a slash. */
  readonly prefix: string;
  readonly workload: Workload;
  close(): Promise<void>;
}

/** MiB that new processes may take. */
export async function availableMib(): Promise<number> {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'latin1'))?.[1];
  return Number(kib ?? 0) / 1024;
}

/** Touches so much of tmpfs and gives it back: on a virtual machine memory is slow when it is touched for the very first time. */
async function warmTmpfs(dir: string, mib: number): Promise<void> {
  const path = join(dir, 'warm');
  const chunk = Buffer.alloc(1 << 20, 1);
  const file = await open(path, 'w');
  try {
    for (let i = 0; i < mib; i++) await file.write(chunk);
  } finally {
    await file.close();
    await rm(path);
  }
}

/** A workload that holds its memory, every page touched, and warm memory for as much again. */
export async function stage(bench: Bench, load: Load): Promise<Stage> {
  const rig = await Rig.make();
  const store = createS3Store(bench.settings);
  const prefix = `bench-${randomUUID()}/`;
  const close = async (): Promise<void> => {
    bench.undo.delete(close);
    try {
      await rig.close();
      await deleteBelow(store, prefix);
    } finally {
      store.close();
    }
  };
  bench.undo.add(close);
  try {
    await warmTmpfs(rig.dir, load.mib);
    const workload = await Workload.start(rig, await rig.container('source'), load);
    return { rig, store, prefix, workload, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs the work on a stage of its own. @throws what the work throws, also when the stage cannot be cleared then */
export async function onStage<T>(bench: Bench, load: Load, work: (on: Stage) => Promise<T>): Promise<T> {
  const made = await stage(bench, load);
  let result: T;
  try {
    result = await work(made);
  } catch (error) {
    await made.close().catch((left: unknown) => bench.say(`after a failure something was left: ${String(left)}`));
    throw error;
  }
  await made.close();
  return result;
}

/** Restores the process with this pid into a container of its own; it is killed, at the latest, when the stage is closed. */
export async function intoContainer<T>(
  { rig }: Stage,
  pid: number,
  restore: (container: Container) => Promise<T>,
): Promise<{ readonly container: Container; readonly restored: T }> {
  const container = await rig.container(`target-${randomUUID()}`);
  const restored = await restore(container);
  rig.onClose(() => killTree(pid));
  return { container, restored };
}
