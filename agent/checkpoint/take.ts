import { mkdir, rm } from 'node:fs/promises';
import { manifestKeyOf } from '../../proto/store-layout.ts';
import { baselineOfTaken, type Baseline } from '../memory/baseline.ts';
import { hotList } from '../memory/hot-list.ts';
import { dumpMode, type DumpMode } from '../memory/dump-mode.ts';
import { readMemoryUse } from '../memory/memory-use.ts';
import { preCopy } from '../memory/pre-copy.ts';
import type { RoundLimits } from '../memory/rounds.ts';
import { MemorySession } from '../memory/session.ts';
import {
  encodeManifest,
  sealedBytes,
  sha256Hex,
  type CheckpointRef,
  type HotImage,
  type Manifest,
  type Pack,
  type PageImage,
} from '../store/manifest.ts';
import { PackWriter } from '../store/pack-writer.ts';
import { readCriuLogs } from '../telemetry/criu-logs.ts';
import { Attempt } from './attempt.ts';
import { numberPacks } from './number-packs.ts';
import { readStdioLinks } from './stdio.ts';
import { Stopwatch, type Timing } from './stopwatch.ts';
import { storeFiles, type StoredFiles } from './take-files.ts';
import type { FrozenTree, TakeContext, TakeOptions } from './take-options.ts';
import { takeReceived } from './take-received.ts';
import { takeScanned } from './take-scanned.ts';

export type { CapturedFiles, TakeOptions } from './take-options.ts';

/** Before the freeze, when the caller says nothing else. */
const defaultRounds: RoundLimits = { budgetMs: 100, maxRounds: 5 };

export interface TakenCheckpoint {
  readonly ref: CheckpointRef;
  /** What a next checkpoint of the same tree need not store again. Takes a while, so it is made when it is asked for. */
  readonly baseline: () => Baseline;
  readonly transfer: {
    /** Of memory, pages of zeroes included. */
    readonly pageBytes: number;
    /** Of all objects that this checkpoint has added. */
    readonly storedBytes: number;
    /** Of all objects that it names. */
    readonly totalBytes: number;
    /** The checkpoint whose pages it goes on using. */
    readonly parent: string | undefined;
    readonly fileBytes: number;
    /** Since the first process was stopped, until the end or until the tree might be continued. */
    readonly freezeMs: number;
    readonly tookMs: number;
    /** How often the memory was gone through while the application ran. */
    readonly rounds: number;
    readonly timeline: readonly Timing[];
  };
}

/**
 * Takes a complete checkpoint of a process tree into the store and leaves the tree stopped. Pages go from the processes to the
 * store through a bounded number of buffers; only CRIU's metadata, and a bounded part of the pages, is ever a file, in workDir.
 * What is stored already and has not changed is not stored again.
 * The manifest is written last, so that a checkpoint that failed does not exist.
 * @throws PodferryError when anything fails; CRIU is gone then and traces nothing. The tree may be stopped or running:
 *   the caller continues it.
 */
export async function takeCheckpoint(options: TakeOptions): Promise<TakenCheckpoint> {
  const attempt = new Attempt(`checkpoint of pid ${options.rootPid}`, options.deadlineMs, options.signal);
  const session = options.memory ?? new MemorySession(options.rootPid);
  try {
    attempt.signal.throwIfAborted();
    await rm(options.workDir, { recursive: true, force: true });
    await mkdir(options.workDir, { recursive: true, mode: 0o700 });
    return await take(options, session, attempt);
  } catch (error) {
    throw attempt.failure(error);
  } finally {
    attempt.end();
    if (options.memory === undefined) await session.close();
    if (options.onLogs !== undefined) options.onLogs(await readCriuLogs(options.workDir));
    await rm(options.workDir, { recursive: true, force: true });
  }
}

async function take(options: TakeOptions, session: MemorySession, attempt: Attempt): Promise<TakenCheckpoint> {
  const { store, keyPrefix, sealing } = options;
  const { signal, fail } = attempt;
  const watch = new Stopwatch();
  await attempt.race(session.ready());
  const stored = session.startUpload({ store, keyPrefix, sealing, signal, fail, compresses: options.compresses });
  const local = new PackWriter(stored.upload);
  const stdio = await readStdioLinks(options.stdioPid);
  watch.lap('prepare');

  let files: Promise<StoredFiles | undefined> = Promise.resolve(undefined);
  const onStopped = (): void => {
    options.onStopped?.();
    files = storeFiles(options, new PackWriter(stored.upload), signal).catch((error: unknown) => {
      fail(error);
      return undefined;
    });
  };
  const context: TakeContext = { options, session, stored, local, watch, onStopped };
  const frozen = await freeze(context, attempt).catch(async (error: unknown) => {
    fail(error);
    await Promise.all([files, stored.settle()]);
    throw error;
  });
  local.seal(); // what is left of it
  const captured = await files;
  watch.lap('files');
  const capturedAt = performance.now();
  if (!signal.aborted) options.onCaptured?.();
  await stored.settle();
  watch.lap('upload');

  const byNumber = <T extends { readonly pack: number }>(at: T): T => ({ ...at, pack: stored.numberOf(at.pack) });
  const { images, pages, archive, packs } = numberPacks(
    {
      images: frozen.images.map(({ name, at }) => ({ name, at: at.map(byNumber) })),
      pages: frozen.pages,
      archive: captured?.archive.map(byNumber),
    },
    session.packs,
  );
  const parent = parentOf(session, packs);
  const manifest: Manifest = {
    checkpoint: options.id,
    instance: sealing.instance,
    generation: options.generation,
    takenMs: Date.now(),
    ...(parent === undefined ? {} : { parent }),
    facts: options.facts,
    rootPid: options.rootPid,
    stoppedBefore: options.stoppedBefore,
    stdio,
    packs,
    images,
    pages,
    ...(frozen.hot === undefined ? {} : { hot: frozen.hot }),
    ...(archive === undefined ? {} : { files: { archive, deleted: captured?.deleted ?? [] } }),
  };
  const body = encodeManifest(manifest, sealing);
  const ref = {
    id: options.id,
    manifestKey: manifestKeyOf({ keyPrefix, checkpoint: options.id }),
    manifestSha256: sha256Hex(body),
  };
  await store.putOnce(ref.manifestKey, body, { sha256: ref.manifestSha256, signal });
  watch.lap('manifest');
  const chunks = new Map(Array.from(session.processes, (process) => [process.pid, process.chunks]));
  return {
    ref,
    baseline: () => baselineOfTaken(ref, { packs, pages }, session.table, chunks, session.packs),
    transfer: {
      pageBytes: frozen.pageBytes,
      storedBytes: stored.upload.storedBytes + body.byteLength,
      totalBytes: packs.reduce((sum, pack) => sum + sealedBytes(pack), body.byteLength),
      parent,
      fileBytes: captured?.bytes ?? 0,
      freezeMs: Math.round((options.onCaptured === undefined ? performance.now() : capturedAt) - frozen.stoppedAt),
      tookMs: watch.tookMs,
      rounds: session.rounds.length,
      timeline: watch.timeline,
    },
  };
}

/** The checkpoint that the session began with, if packs of it are used. */
function parentOf({ baseline }: MemorySession, used: readonly Pack[]): string | undefined {
  const old = new Set(baseline?.packs.map(({ key }) => key));
  return used.some(({ key }) => old.has(key)) ? baseline?.checkpoint.id : undefined;
}

/** Copies ahead what can be, stops the tree and takes the rest. */
async function freeze(context: TakeContext, attempt: Attempt) {
  const { options, session, stored, watch } = context;
  let mode = modeOf(session);
  if (mode === 'scan') {
    const copying = preCopy(session, stored, options.rounds ?? defaultRounds, attempt.signal);
    await attempt.race(copying);
    mode = modeOf(session);
    watch.lap('live rounds');
  }
  if (mode !== 'scan') return await takeReceived(context, attempt);
  const nameHot = hotSeen(session);
  const frozen: FrozenTree = await takeScanned(context, attempt);
  return nameHot === undefined ? frozen : { ...frozen, hot: nameHot(frozen.pages) };
}

/** What is known of hot pages before the freeze; nothing when the memory was never gone through before. */
function hotSeen(session: MemorySession): ((pages: readonly PageImage[]) => HotImage[]) | undefined {
  if (session.rounds.length === 0) return undefined;
  const firstPack = session.packs.length;
  const seen = new Map(Array.from(session.processes, (process) => [process.pid, session.hot.rangesOf(process)]));
  return (pages) => hotList(seen, pages, (pack) => pack >= firstPack);
}

function modeOf(session: MemorySession): DumpMode {
  const pids = session.lookAtTree().map(({ pid }) => pid);
  return dumpMode(readMemoryUse(pids, session.presentBytes));
}
