import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import type { Criu } from '../criu/command.ts';
import { decodePstree } from '../criu/images.ts';
import { baselineOfRestored, PackHashes, type Baseline } from '../memory/baseline.ts';
import { newSeed } from '../memory/page-table.ts';
import { startFiller, type Filler } from '../pages/filler.ts';
import { PageFilling, type LazyCounts } from '../pages/page-filling.ts';
import { pageBytes } from '../pages/page-size.ts';
import { BufferPool } from '../store/buffer-pool.ts';
import { packBytes, type CheckpointRef, type Manifest } from '../store/manifest.ts';
import type { LogFile } from '../store/logs.ts';
import { PackReader } from '../store/pack-reader.ts';
import { readManifest } from '../store/read-manifest.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';
import { readCriuLogs } from '../telemetry/criu-logs.ts';
import type { FaultFigures } from '../telemetry/faults.ts';
import { Attempt } from './attempt.ts';
import { writeImages, writePagemaps } from './images-on-disk.ts';
import { makeKit, type RestoreKit } from './restore-kit.ts';
import { restoreTree, type LazyCare, type RunRestore } from './restore-tree.ts';
import { Stopwatch, type Timing } from './stopwatch.ts';
import { assertPidsFree } from './tree.ts';

/** For metadata and the pages that CRIU reads from files. */
const metadataPacksInMemory = 4;

/** A drain may take this long and a second for each MiB: far more than any network that could be used, but an end. */
const leastDrainMs = 600_000;
const msPerMib = 1_000;

const archiveChunkBytes = 256 * 1024;

export interface RestoreOptions {
  readonly criu: Criu;
  readonly runRestore: RunRestore;
  /** Number in CRIU of the first fd that runRestore hands over. */
  readonly firstInheritedFd: number;
  readonly store: Store;
  readonly ref: CheckpointRef;
  /** The checkpoint must be of its instance. */
  readonly sealing: Sealing;
  /** The target container's first process, whose input, output and error the application gets. */
  readonly stdioPid: number;
  /** On tmpfs, for this restore alone: made, and removed at the end. */
  readonly workDir: string;
  /** Called before CRIU runs when the checkpoint has files; consumes the whole archive. */
  readonly unpackFiles?: (archive: Readable, deleted: readonly string[], signal: AbortSignal) => Promise<void>;
  /** Lets the tree be used before every page is in; undefined: it is restored in full. */
  readonly lazy?: LazyCare;
  /** Our program as the agent sees it. */
  readonly binary?: string;
  /** How many packs are read at a time; 0: one, and none ahead. */
  readonly prefetchWorkers?: number;
  readonly faultPromotion?: boolean;
  /** Whether the pages that the application wrote to most are read first. Default: yes. */
  readonly hotSeed?: boolean;
  /** Made ready ahead; it is this restore's then. */
  readonly kit?: RestoreKit;
  /** Gets CRIU's logs when it writes to them no more: before `drained` is settled, or this rejects. */
  readonly onLogs?: (logs: readonly LogFile[]) => void;
  /** From now, until the tree is restored. */
  readonly deadlineMs: number;
  /** Ends the restore; not the drain after it. */
  readonly signal?: AbortSignal;
}

/** The end of a lazy restore. */
export interface Drained {
  readonly drainMs: number;
  /** Read from the store, in all. */
  readonly storedBytes: number;
  readonly counts: LazyCounts;
  readonly faults: FaultFigures;
  /** What the next checkpoint need not store again. */
  readonly baseline: Baseline;
}

export interface RestoredTree {
  readonly rootPid: number;
  /** All processes, root first. */
  readonly pids: readonly number[];
  /** Those not to be continued. */
  readonly stoppedBefore: readonly number[];
  /** Of the source when the checkpoint was taken. */
  readonly generation: number;
  readonly pageBytes: number;
  /** Read from the store. */
  readonly storedBytes: number;
  readonly fileBytes: number;
  readonly tookMs: number;
  readonly timeline: readonly Timing[];
  /** Resolves when every page is in; rejects with a PodferryError when pages are missing and nothing of the tree is alive. */
  readonly drained: Promise<Drained>;
  /**
   * Before a lazily restored tree is continued: sets up its guard or, when that cannot be, puts every page in. To be called once.
   * Resolves to why it had to; rejects when the tree is lost, as `drained` does.
   */
  readonly prepare: () => Promise<PodferryError | undefined>;
  /** Begins to put in the pages that nobody waits for: not before, so that nothing competes with what a move still has to do. */
  readonly fill: () => void;
}

/**
 * Restores a checkpoint and leaves it stopped; without `lazy` with every page in. Nothing of it is used before it was checked
 * against the reference: the manifest first, then each pack.
 * @throws PodferryError when anything fails; nothing of the restored tree is left alive then
 */
export async function restoreCheckpoint(options: RestoreOptions): Promise<RestoredTree> {
  const attempt = new Attempt(`restore of checkpoint ${options.ref.id}`, options.deadlineMs, options.signal);
  const kit = options.kit ?? makeKit();
  const tidy = async (): Promise<void> => {
    attempt.end();
    await kit.frames.close();
    if (options.onLogs !== undefined) options.onLogs(await readCriuLogs(options.workDir));
    await rm(options.workDir, { recursive: true, force: true });
  };
  let tree: RestoredTree;
  try {
    attempt.signal.throwIfAborted();
    rmSync(options.workDir, { recursive: true, force: true });
    mkdirSync(options.workDir, { recursive: true, mode: 0o700 });
    tree = await restore(options, attempt, kit);
  } catch (error) {
    const failure = attempt.failure(error);
    await tidy();
    throw failure;
  }
  // CRIU's restore has its log there.
  const drained = endingWith(tidy, tree.drained);
  // Whoever has no use for a lazy tree need not look at it.
  drained.catch(() => undefined);
  if (options.lazy === undefined) await drained;
  else attempt.carryOn(leastDrainMs + (tree.pageBytes / 2 ** 20) * msPerMib);
  return { ...tree, drained };
}

async function restore(options: RestoreOptions, attempt: Attempt, kit: RestoreKit): Promise<RestoredTree> {
  const { signal } = attempt;
  const watch = new Stopwatch();
  const manifest = readManifest(options.store, options.ref, options.sealing, signal);
  manifest.catch(attempt.fail);
  // While the manifest is on its way: to start a program takes long in a process that holds much memory.
  const filler = startFiller({
    imagesDir: options.workDir,
    signal,
    ...(options.binary === undefined ? {} : { binary: options.binary }),
  });
  filler.catch(attempt.fail);
  try {
    return await restoreWith(await manifest, filler, watch, options, attempt, kit);
  } catch (error) {
    const failure = attempt.failure(error);
    await filler.then(
      (started) => started.kill(),
      () => undefined, // it is the failure, or a consequence
    );
    throw failure;
  }
}

async function restoreWith(
  manifest: Manifest,
  starting: Promise<Filler>,
  watch: Stopwatch,
  options: RestoreOptions,
  attempt: Attempt,
  kit: RestoreKit,
): Promise<RestoredTree> {
  const { workDir, store } = options;
  const { signal } = attempt;
  watch.lap('manifest');
  const reading = { store, packs: manifest.packs, sealing: options.sealing, signal };
  const hashing = new PackHashes(newSeed());
  const reader = new PackReader({ ...reading, ...kit, hashing });
  // Little, and needed at once: opened here while the threads are still starting.
  const metadata = new PackReader({ ...reading, pool: new BufferPool(metadataPacksInMemory, packBytes) });
  await writeImages(manifest, metadata, workDir);
  const processes = decodePstree(readFileSync(join(workDir, 'pstree.img')));
  assertPidsFree(processes);
  watch.lap('images');
  const filled = starting.then((filler) => filler.expect(manifest.pages));
  await together(attempt, [
    filled,
    writePagemaps(manifest, metadata, workDir),
    unpack(options, manifest, reader, signal),
  ]);
  signal.throwIfAborted();
  watch.lap('local pages, files');

  const { prefetchWorkers, faultPromotion, lazy } = options;
  const filler = await starting;
  const filling = new PageFilling({
    filler,
    images: manifest.pages,
    reader,
    fail: attempt.fail,
    ...(prefetchWorkers === undefined ? {} : { prefetchWorkers }),
    ...(faultPromotion === undefined ? {} : { faultPromotion }),
    // Who restores in full waits for every page.
    ...(manifest.hot === undefined || options.hotSeed === false || lazy === undefined ? {} : { hot: manifest.hot }),
  });
  const pids = processes.map((process) => process.pid);
  const restored = await restoreTree({ ...options, manifest, filler, filling, pids, lazy, watch }, attempt);
  const restoredAt = performance.now();
  const drained = restored.pages.then((): Drained => {
    filling.stop();
    const drainMs = Math.round(performance.now() - restoredAt);
    const storedBytes = reader.readBytes + metadata.readBytes;
    return {
      drainMs,
      storedBytes,
      counts: filling.counts,
      faults: filling.faultFigures,
      baseline: baselineOfRestored(options.ref, manifest, hashing),
    };
  });
  return {
    rootPid: manifest.rootPid,
    pids,
    stoppedBefore: manifest.stoppedBefore,
    generation: manifest.generation,
    pageBytes: sum(manifest.pages.map(({ runs }) => runs.allPages)) * pageBytes,
    storedBytes: reader.readBytes + metadata.readBytes,
    fileBytes: sum(manifest.files?.archive.map((extent) => extent.bytes) ?? []),
    tookMs: watch.tookMs,
    timeline: watch.timeline,
    drained,
    prepare: restored.prepare,
    fill: restored.fill,
  };
}

async function endingWith<T>(end: () => Promise<void>, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } finally {
    await end();
  }
}

/** Waits until all parts have ended; the first failure is the attempt's, and so ends the others. */
async function together(attempt: Attempt, parts: readonly Promise<unknown>[]): Promise<void> {
  await Promise.all(parts.map((part) => part.catch(attempt.fail)));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, next) => total + next, 0);

async function unpack(
  options: RestoreOptions,
  manifest: Manifest,
  reader: PackReader,
  signal: AbortSignal,
): Promise<void> {
  if (manifest.files === undefined) return;
  if (options.unpackFiles === undefined) {
    throw new PodferryError('FILES_FAILED', 'the checkpoint has files, and nobody is there to unpack them');
  }
  // Copies: a stream keeps several parts, and the reader reuses its memory.
  const copies = async function* (parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of parts) {
      for (let at = 0; at < part.byteLength; at += archiveChunkBytes) {
        yield Buffer.from(part.subarray(at, at + archiveChunkBytes));
      }
    }
  };
  const archive = Readable.from(copies(reader.parts(manifest.files.archive)), { objectMode: false });
  try {
    await options.unpackFiles(archive, manifest.files.deleted, signal);
  } finally {
    archive.destroy();
  }
}
