import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import type { Criu } from '../criu/command.ts';
import { startDump } from '../criu/dump.ts';
import { decodeDumpStats } from '../criu/images.ts';
import { PageReceiver, type PageWriters } from '../pages/page-receiver.ts';
import { BufferPool } from '../store/buffer-pool.ts';
import {
  encodeManifest,
  packBytes,
  sha256Hex,
  type CheckpointRef,
  type Extent,
  type HostFacts,
  type Manifest,
  type PageImage,
  type StoredImage,
} from '../store/manifest.ts';
import { appendExtents, PackUpload, PackWriter } from '../store/pack-writer.ts';
import type { Store } from '../store/store.ts';
import { Attempt } from './attempt.ts';
import { readStdioLinks } from './stdio.ts';
import { Stopwatch, type Timing } from './stopwatch.ts';

/** Bounds the agent's memory: this many packs are being filled or stored at a time. */
const packsInMemory = 12;
const parallelPuts = 6;

const imageChunkBytes = 1024 * 1024;

/** The changed files of the container, read after its processes were stopped. */
export interface CapturedFiles {
  /** A tar; it errors before its end when anything could not be read. */
  readonly archive: Readable;
  readonly deleted: readonly string[];
}

export interface TakeOptions {
  readonly criu: Criu;
  readonly store: Store;
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly id: string;
  readonly instance: string;
  readonly generation: number;
  readonly facts: HostFacts;
  readonly rootPid: number;
  /** The container's first process, whose input, output and error are the container runtime's. */
  readonly stdioPid: number;
  /** Pids of the tree that are stopped already, and stay so after the restore. */
  readonly stoppedBefore: readonly number[];
  /** On tmpfs, for this checkpoint alone: made, and removed at the end. */
  readonly workDir: string;
  /** Called once, when every process is stopped, while their pages are still moving. */
  readonly files?: (signal: AbortSignal) => Promise<CapturedFiles>;
  /** From now. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly onStopped?: () => void;
}

export interface TakenCheckpoint {
  readonly ref: CheckpointRef;
  readonly transfer: {
    /** Of memory, pages of zeroes included. */
    readonly pageBytes: number;
    /** Of all objects of the checkpoint. */
    readonly storedBytes: number;
    readonly fileBytes: number;
    /** Since the first process was stopped. */
    readonly freezeMs: number;
    readonly tookMs: number;
    readonly timeline: readonly Timing[];
  };
}

/**
 * Takes a complete checkpoint of a process tree into the store and leaves the tree stopped. Pages go from the processes to the
 * store through a bounded number of buffers; only CRIU's metadata is ever a file, in workDir.
 * The manifest is written last, so that a checkpoint that failed does not exist.
 * @throws PodferryError when anything fails; CRIU is gone then and traces nothing. The tree may be stopped or running:
 *   the caller continues it.
 */
export async function takeCheckpoint(options: TakeOptions): Promise<TakenCheckpoint> {
  const attempt = new Attempt(`checkpoint of pid ${options.rootPid}`, options.deadlineMs, options.signal);
  try {
    attempt.signal.throwIfAborted();
    await rm(options.workDir, { recursive: true, force: true });
    await mkdir(options.workDir, { recursive: true, mode: 0o700 });
    return await take(options, attempt);
  } catch (error) {
    throw attempt.failure(error);
  } finally {
    attempt.end();
    await rm(options.workDir, { recursive: true, force: true });
  }
}

async function take(options: TakeOptions, attempt: Attempt): Promise<TakenCheckpoint> {
  const { store, keyPrefix, workDir } = options;
  const watch = new Stopwatch();
  const { signal, fail } = attempt;
  const pool = new BufferPool(packsInMemory, packBytes);
  pool.warm();
  const upload = new PackUpload({ store, keyPrefix, pool, parallel: parallelPuts, signal, fail });
  const local = new PackWriter(upload);
  const stdio = await readStdioLinks(options.stdioPid);
  watch.lap('prepare');

  let files: Promise<StoredFiles | undefined> = Promise.resolve(undefined);
  const dumped = await dumpPages(options, attempt, { local, lazy: new PackWriter(upload) }, () => {
    watch.lap('stop');
    options.onStopped?.();
    files = storeFiles(options, new PackWriter(upload), signal).catch((error: unknown) => {
      fail(error);
      return undefined;
    });
  }).catch(async (error: unknown) => {
    fail(error);
    await Promise.all([files, upload.finish()]);
    throw error;
  });
  watch.lap('dump');

  const images = await storeImages(workDir, local);
  local.seal();
  const stored = await files;
  watch.lap('images and files');
  const packs = await upload.finish();
  watch.lap('upload');

  const manifest: Manifest = {
    checkpoint: options.id,
    instance: options.instance,
    generation: options.generation,
    facts: options.facts,
    rootPid: options.rootPid,
    stoppedBefore: options.stoppedBefore,
    stdio,
    packs,
    images,
    pages: dumped.pages,
    ...(stored === undefined ? {} : { files: { archive: stored.archive, deleted: stored.deleted } }),
  };
  const body = encodeManifest(manifest);
  const ref = {
    id: options.id,
    manifestKey: `${keyPrefix}checkpoints/${options.id}/manifest`,
    manifestSha256: sha256Hex(body),
  };
  await store.putOnce(ref.manifestKey, body, { sha256: ref.manifestSha256, signal });
  watch.lap('manifest');
  return {
    ref,
    transfer: {
      pageBytes: dumped.pageBytes,
      storedBytes: upload.storedBytes + body.byteLength,
      fileBytes: stored?.bytes ?? 0,
      freezeMs: Math.round(performance.now() - dumped.stoppedAt),
      tookMs: watch.tookMs,
      timeline: watch.timeline,
    },
  };
}

interface Dumped {
  readonly pages: readonly PageImage[];
  readonly pageBytes: number;
  /** performance.now() at the first stopped process. */
  readonly stoppedAt: number;
}

/** Runs CRIU and receives the pages. When it rejects, CRIU is gone. */
async function dumpPages(
  options: TakeOptions,
  attempt: Attempt,
  writers: PageWriters,
  onStopped: () => void,
): Promise<Dumped> {
  const dump = await startDump({
    criu: options.criu,
    pid: options.rootPid,
    imagesDir: options.workDir,
    stopSeconds: Math.max(Math.ceil(attempt.remainingMs / 1000), 1),
  });
  const receiver: PageReceiver = new PageReceiver(dump.pages, writers, onStopped, (error) => {
    // An error of the socket itself comes from CRIU's end, which says why in its own words.
    if (error instanceof PodferryError) attempt.fail(error);
    else receiver.destroy();
  });
  try {
    await attempt.race(dump.done);
    const endedAt = performance.now();
    const pages = receiver.finish();
    const stats = decodeDumpStats(await readFile(join(options.workDir, 'stats-dump')));
    return {
      pages,
      pageBytes: receiver.pageBytes,
      stoppedAt: endedAt - (stats.freezingTime + stats.frozenTime) / 1000,
    };
  } catch (error) {
    receiver.destroy();
    await dump.abort();
    throw error;
  }
}

/** Stores CRIU's metadata images. */
async function storeImages(workDir: string, writer: PackWriter): Promise<StoredImage[]> {
  const images: StoredImage[] = [];
  for (const name of (await readdir(workDir)).filter((entry) => entry.endsWith('.img')).toSorted()) {
    const at: Extent[] = [];
    const file = await open(join(workDir, name), 'r');
    try {
      const chunks: AsyncIterable<Buffer> = file.createReadStream({ highWaterMark: imageChunkBytes, autoClose: false });
      for await (const chunk of chunks) appendExtents(at, await writer.write(chunk));
    } finally {
      await file.close();
    }
    images.push({ name, at });
  }
  return images;
}

interface StoredFiles {
  readonly archive: readonly Extent[];
  readonly deleted: readonly string[];
  readonly bytes: number;
}

/** Stores the changed files. @throws what the caller's callback or stream throws, or why the checkpoint failed */
async function storeFiles(
  options: TakeOptions,
  writer: PackWriter,
  signal: AbortSignal,
): Promise<StoredFiles | undefined> {
  if (options.files === undefined) return undefined;
  const { archive, deleted } = await options.files(signal);
  const stop = (): void => void archive.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener('abort', stop, { once: true });
  const at: Extent[] = [];
  let bytes = 0;
  try {
    signal.throwIfAborted();
    for await (const chunk of archive as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      appendExtents(at, await writer.write(chunk));
    }
  } finally {
    signal.removeEventListener('abort', stop);
    archive.destroy();
  }
  writer.seal();
  return { archive: at, deleted, bytes };
}
