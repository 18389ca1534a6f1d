import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import type { Criu } from '../criu/command.ts';
import { decodePstree } from '../criu/images.ts';
import { firstPacks } from '../pages/lazy-server.ts';
import { pageBytes } from '../pages/page-size.ts';
import { BufferPool } from '../store/buffer-pool.ts';
import {
  maxManifestBytes,
  packBytes,
  parseManifest,
  sha256Hex,
  type CheckpointRef,
  type Manifest,
} from '../store/manifest.ts';
import { PackReader } from '../store/pack-reader.ts';
import type { Store } from '../store/store.ts';
import { Attempt } from './attempt.ts';
import { writeImages, writePagemaps } from './images-on-disk.ts';
import { restoreTree, type RunRestore } from './restore-tree.ts';
import { Stopwatch, type Timing } from './stopwatch.ts';
import { assertPidsFree } from './tree.ts';

/** Bounds the agent's memory: this many packs are read ahead or being served at a time. */
const packsInMemory = 16;

const archiveChunkBytes = 256 * 1024;

export interface RestoreOptions {
  /** Runs the lazy daemon. */
  readonly criu: Criu;
  readonly runRestore: RunRestore;
  /** Number in CRIU of the first fd that runRestore hands over. */
  readonly firstInheritedFd: number;
  readonly store: Store;
  readonly ref: CheckpointRef;
  /** The checkpoint must be of this one. */
  readonly instance: string;
  /** The target container's first process, whose input, output and error the application gets. */
  readonly stdioPid: number;
  /** On tmpfs, for this restore alone: made, and removed at the end. */
  readonly workDir: string;
  /** Called before CRIU runs when the checkpoint has files; consumes the whole archive. */
  readonly unpackFiles?: (archive: Readable, deleted: readonly string[], signal: AbortSignal) => Promise<void>;
  /** From now. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
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
}

/**
 * Restores a checkpoint and leaves it stopped, with every page in. Nothing of it is used before it was checked against the
 * reference: the manifest first, then each pack.
 * @throws PodferryError when anything fails; nothing of the restored tree is left alive then
 */
export async function restoreCheckpoint(options: RestoreOptions): Promise<RestoredTree> {
  const attempt = new Attempt(`restore of checkpoint ${options.ref.id}`, options.deadlineMs, options.signal);
  try {
    attempt.signal.throwIfAborted();
    await rm(options.workDir, { recursive: true, force: true });
    await mkdir(options.workDir, { recursive: true, mode: 0o700 });
    return await restore(options, attempt);
  } catch (error) {
    throw attempt.failure(error);
  } finally {
    attempt.end();
    await rm(options.workDir, { recursive: true, force: true });
  }
}

async function restore(options: RestoreOptions, attempt: Attempt): Promise<RestoredTree> {
  const { workDir, store } = options;
  const { signal } = attempt;
  const watch = new Stopwatch();
  const manifest = await readManifest(options, signal);
  watch.lap('manifest');

  const pool = new BufferPool(packsInMemory, packBytes);
  const reader = new PackReader({ store, packs: manifest.packs, pool, signal });
  await writeImages(manifest, reader, workDir);
  const processes = decodePstree(await readFile(join(workDir, 'pstree.img')));
  await assertPidsFree(processes);
  await writePagemaps(manifest, reader, workDir);
  // From here on the store is busy while files are unpacked and CRIU starts.
  reader.prefetch(firstPacks(manifest.pages));
  watch.lap('images');
  await unpack(options, manifest, reader, signal);
  watch.lap('files');

  const pids = processes.map((process) => process.pid);
  await restoreTree({ ...options, manifest, reader, pids, watch }, attempt);
  return {
    rootPid: manifest.rootPid,
    pids,
    stoppedBefore: manifest.stoppedBefore,
    generation: manifest.generation,
    pageBytes: sum(manifest.pages.flatMap((image) => image.runs.map((run) => run.pages))) * pageBytes,
    storedBytes: reader.readBytes,
    fileBytes: sum(manifest.files?.archive.map((extent) => extent.bytes) ?? []),
    tookMs: watch.tookMs,
    timeline: watch.timeline,
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, next) => total + next, 0);

async function readManifest(options: RestoreOptions, signal: AbortSignal): Promise<Manifest> {
  const { ref, instance } = options;
  const bytes = await options.store.get(ref.manifestKey, maxManifestBytes, signal);
  if (sha256Hex(bytes) !== ref.manifestSha256) {
    throw new PodferryError('OBJECT_CORRUPT', `${ref.manifestKey} is not what was stored`, { key: ref.manifestKey });
  }
  const manifest = parseManifest(bytes);
  if (manifest.checkpoint !== ref.id || manifest.instance !== instance) {
    throw new PodferryError('MANIFEST_INVALID', `${ref.manifestKey} is of another checkpoint or instance`, {
      checkpoint: manifest.checkpoint,
      instance: manifest.instance,
    });
  }
  return manifest;
}

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
