import { PodferryError } from '../../proto/errors.ts';
import { startLazyDump, type LazyDump } from '../criu/dump.ts';
import { pageFlags } from '../criu/page-xfer.ts';
import type { PageRange } from '../memory/address-space.ts';
import { everything, frozenChanges, readChanges, type Changes } from '../memory/changes.ts';
import { confirmChunks } from '../memory/confirm.ts';
import { untilHeld } from '../memory/held.ts';
import { findRuns } from '../memory/lazy-runs.ts';
import { piecesOf, splitByChunk, type Piece } from '../memory/pass.ts';
import { readAddressSpace, type KnownProcess, type MemorySession } from '../memory/session.ts';
import { pageBytes } from '../pages/page-size.ts';
import type { PageImage } from '../store/manifest.ts';
import { PageRunsWriter, type PageRuns } from '../store/page-runs.ts';
import type { Attempt } from './attempt.ts';
import { isLocal, storeLocalPages, type LocalPages } from './local-pages.ts';
import { readPagemaps, stampOfImages, storeImages } from './take-images.ts';
import type { FrozenTree, TakeContext } from './take-options.ts';

/** Packs of the freeze are small, so that they are on their way while the rest is still read. */
const packLimitBytes = 2 * 1024 * 1024;

interface FinalPass {
  readonly session: MemorySession;
  readonly pass: number;
  readonly processes: readonly KnownProcess[];
  read(changes: readonly Changes[]): Promise<void>;
}

/**
 * Stops the tree and reads its private anonymous memory itself while CRIU writes everything else: only what is not stored yet is
 * stored. When it rejects, CRIU is gone.
 */
export async function takeScanned(context: TakeContext, attempt: Attempt): Promise<FrozenTree> {
  const { options, watch, onStopped } = context;
  const dump = await startLazyDump({
    criu: options.criu,
    pid: options.rootPid,
    imagesDir: options.workDir,
    stopSeconds: Math.max(Math.ceil(attempt.remainingMs / 1000), 1),
    binary: options.binary,
  });
  try {
    const stoppedAt = await untilStopped(dump, options.rootPid, attempt);
    watch.lap('stop');
    onStopped();
    const final = startFinalPass(context, attempt.signal);
    // The tree stays stopped when CRIU is gone, so its last steps, too, go beside the scan.
    const [late, written] = await attempt.race(
      Promise.all([readButCode(final), dump.ready.then(() => storeWritten(context, dump))]),
    );
    watch.lap('scan, CRIU, images');
    await attempt.race(dump.done);
    if (written.stamp !== stampOfImages(options.workDir)) {
      throw new PodferryError('CRIU_DUMP_FAILED', 'CRIU wrote to its images after it had said that they were complete');
    }
    watch.lap('CRIU exit');
    await attempt.race(late().then((changes) => final.read(changes)));
    const pages = await attempt.race(lazyPages(context, written.local, final));
    watch.lap('code, index');
    return {
      pages,
      images: written.images,
      pageBytes: pages.reduce((sum, { runs }) => sum + runs.allPages, 0) * pageBytes,
      stoppedAt,
    };
  } catch (error) {
    await dump.abort();
    throw error;
  }
}

/** Waits until nothing of the tree runs: sees it, or CRIU says so. @returns performance.now() when the first process was stopped */
async function untilStopped(dump: LazyDump, rootPid: number, attempt: Attempt): Promise<number> {
  const looking = new AbortController();
  const startedAt = performance.now();
  try {
    const heldAt = await attempt.race(Promise.race([untilHeld(rootPid, looking.signal), dump.ready]));
    return heldAt ?? startedAt;
  } finally {
    looking.abort();
  }
}

function startFinalPass({ session, stored }: TakeContext, signal: AbortSignal): FinalPass {
  const processes = session.lookAtTree();
  const pass = session.nextPass();
  const newSource = () => stored.newSource(packLimitBytes);
  return {
    session,
    pass,
    processes,
    async read(changes) {
      await readChanges(session, changes, { pass, newSource, signal });
    },
  };
}

/**
 * Reads what has changed in all memory but what holds code: there CRIU, while it works, puts some of its own for moments.
 * @returns what to read of that, to be asked for when CRIU has gone
 */
async function readButCode(final: FinalPass): Promise<() => Promise<Changes[]>> {
  const halves = await Promise.all(final.processes.map((process) => changesOf(final, process)));
  await final.read(halves.map(({ early }) => early));
  return () => Promise.all(halves.map(({ late }) => late()));
}

interface Halves {
  readonly early: Changes;
  readonly late: () => Promise<Changes>;
}

async function changesOf({ session, pass }: FinalPass, process: KnownProcess): Promise<Halves> {
  const space = readAddressSpace(process.pid);
  const [lazy, code] = [space?.lazy ?? [], space?.code ?? []];
  const holdCode = new Set(code);
  const data = lazy.filter((range) => !holdCode.has(range));
  const early = await frozenChanges(session, process, data);
  if (early === undefined) {
    const { inside, outside } = splitByChunk(piecesOf(lazy), code);
    return { early: everything(process, outside), late: () => Promise.resolve(everything(process, inside)) };
  }
  confirmChunks(session.table, process.chunks, lazy, pass);
  const excluded = piecesOf(session.hot.excludedIn(process, data));
  const late = async (): Promise<Changes> =>
    (await frozenChanges(session, process, code)) ?? { ...early, unknown: piecesOf(code), written: [] };
  if (excluded.length === 0) return { early, late };
  // All pieces of a chunk follow one another.
  const written = [...early.written, ...excluded].toSorted((a, b) => a.chunk - b.chunk);
  return { early: { ...early, written }, late };
}

/** Lets CRIU go and stores what it has written: pages first, since they must begin at a page's start, then its metadata. */
async function storeWritten({ options, local: writer }: TakeContext, dump: LazyDump) {
  const stamp = stampOfImages(options.workDir);
  dump.release();
  const local = await storeLocalPages(readPagemaps(options.workDir), options.workDir, writer);
  const images = await storeImages(options.workDir, writer);
  // On its way while the scan goes on.
  writer.seal();
  return { stamp, local, images };
}

/** The pages that CRIU lists, with their places. Those it lists and we have not seen are read now. */
async function lazyPages(context: TakeContext, local: readonly LocalPages[], final: FinalPass): Promise<PageImage[]> {
  const missing = new Map<number, readonly Piece[]>();
  const build = (): PageImage[] => {
    missing.clear();
    return local.map((pages) => {
      const found = placePages(context, pages, final);
      if (found.missing.length > 0) missing.set(pages.pagemap.id, piecesOf(found.missing));
      return { kind: pages.pagemap.kind, id: pages.pagemap.id, runs: found.runs };
    });
  };
  const images = build();
  if (missing.size === 0) return images;
  await final.read(
    final.processes.map((process) => ({
      ...everything(process, missing.get(process.pid) ?? []),
      isWhole: false,
    })),
  );
  const again = build();
  for (const [pid, pieces] of missing) {
    const page = (pieces[0]?.chunk ?? 0).toString(16);
    throw new PodferryError('CRIU_DUMP_FAILED', `memory of process ${pid} cannot be read, first at chunk 0x${page}`, {
      pid,
    });
  }
  return again;
}

function placePages(
  { session, stored }: TakeContext,
  { pagemap, runs: written }: LocalPages,
  { pass, processes }: FinalPass,
): { readonly runs: PageRuns; readonly missing: readonly PageRange[] } {
  const chunks = processes.find(({ pid }) => pid === pagemap.id)?.chunks ?? { slots: new Map(), passes: new Map() };
  const missing: PageRange[] = [];
  let nextWritten = 0;
  const runs = new PageRunsWriter();
  for (const run of pagemap.runs) {
    if (!isLocal(run.flags)) {
      const flags = (run.flags & pageFlags.lazy) | pageFlags.present;
      const range = { from: run.page, to: run.page + run.pages };
      for (const one of findRuns(session.table, chunks, range, flags, pass, runs)) missing.push(one);
      continue;
    }
    for (let next = written[nextWritten]; next !== undefined && next.page < run.page + run.pages;) {
      runs.add(next.page, next.pages, next.flags, stored.numberOf(next.pack), next.at);
      nextWritten += 1;
      next = written[nextWritten];
    }
  }
  return { runs: runs.runs(), missing };
}
