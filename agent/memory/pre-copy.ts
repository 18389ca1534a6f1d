import { setTimeout as delay } from 'node:timers/promises';
import { pageBytes } from '../pages/page-size.ts';
import { packBytes } from '../store/manifest.ts';
import { liveChanges, readChanges, type Changes } from './changes.ts';
import { packsToMerge, packsToRewrite, type PackUse } from './compaction.ts';
import { piecesOf, type Piece } from './pass.ts';
import { nextRound, rateOf, type NextRound, type Round, type RoundLimits } from './rounds.ts';
import { readAddressSpace, type MemorySession, type SessionUpload } from './session.ts';

/** Most that one round stores anew to put old packs out of use. */
const maxRewrittenPages = (64 * 1024 * 1024) / pageBytes;

/**
 * A device that writes into a page (a read with O_DIRECT) was let to it before the page's note was wiped, and leaves none when it ends.
 * So pages are read only some time after the notes were: what was under way then has ended.
 */
const deviceWritesMs = 50;

export interface PreCopied {
  readonly rounds: readonly Round[];
  readonly why: string;
}

/**
 * Goes through the memory of the running application and stores what is not stored yet, until the rest fits the freeze or shrinks no
 * more. Pages may be torn while they are read: what the table says of them is what was stored, so the final pass finds them changed.
 * @throws PodferryError APP_NOT_RUNNING, the signal's reason; the session is useless then
 */
export async function preCopy(
  session: MemorySession,
  stored: SessionUpload,
  limits: RoundLimits,
  signal: AbortSignal,
): Promise<PreCopied> {
  const rounds: Round[] = [];
  for (;;) {
    const next: NextRound = nextRound(rounds, limits, rateOf(session.rounds));
    if (!next.go) return { rounds, why: next.why };
    signal.throwIfAborted();
    const startedAt = performance.now();
    const rewritten = markWasteful(session);
    const rate = rateOf(session.rounds);
    if (limits.excludesHot === true) session.hot.exclude(session.processes, (limits.budgetMs * rate) / pageBytes);
    const firstPack = session.packs.length;
    const counts = await livePass(session, stored, rewritten, signal);
    for (const pack of rewritten) new Uint8Array(session.table.rewrite)[pack] = 0;
    await stored.settle();
    // In the first round everything is new, or other than long ago.
    if (session.rounds.length > 0) session.hot.note(session.table, session.processes, firstPack);
    const round = {
      changedBytes: counts.changed * pageBytes,
      excludedBytes: session.hot.excludedPages * pageBytes,
      tookMs: performance.now() - startedAt,
    };
    session.addRound(round, counts.present * pageBytes);
    rounds.push(round);
  }
}

async function livePass(
  session: MemorySession,
  stored: SessionUpload,
  rewritten: readonly number[],
  signal: AbortSignal,
) {
  const pass = session.nextPass();
  const changes = await Promise.all(
    session
      .lookAtTree()
      .map((process) => liveChanges(session, process, readAddressSpace(process.pid)?.lazy ?? [], pass)),
  );
  const all = withRewritten(session, changes, rewritten);
  const worthwhile = all.map((change) => withoutExcluded(session, change));
  if (session.tracking?.isOn === true) await delay(deviceWritesMs);
  signal.throwIfAborted();
  const counts = await readChanges(session, worthwhile, {
    pass,
    newSource: () => stored.newSource(packBytes),
    signal,
  });
  // What was neither gone through nor confirmed is mapped no more.
  for (const { process } of changes) session.forgetBefore(process.chunks, pass);
  const leftOut = all.map(({ isWhole, unknown }, i) =>
    isWhole ? pagesOf(unknown) - pagesOf(worthwhile[i]?.unknown ?? []) : 0,
  );
  return { ...counts, present: leftOut.reduce((sum, pages) => sum + pages, counts.present) };
}

const pagesOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, { from, to }) => sum + to - from, 0);

function withoutExcluded({ hot, table }: MemorySession, change: Changes): Changes {
  const { process, unknown, written } = change;
  return {
    ...change,
    unknown: hot.without(table, process, unknown),
    written: hot.without(table, process, written),
  };
}

/** Pages that are to be stored anew are read, too, although nobody wrote to them. */
function withRewritten(session: MemorySession, changes: readonly Changes[], packs: readonly number[]): Changes[] {
  const chosen = new Set(packs);
  return changes.map((change) => {
    if (change.isWhole || chosen.size === 0) return change;
    const more = piecesOf(session.table.pagesIn(change.process.chunks, chosen));
    // All pieces of a chunk follow one another.
    const written = [...change.written, ...more].toSorted((a, b) => a.chunk - b.chunk);
    return { ...change, written };
  });
}

/** Of each pack what is still in use, for all processes. */
function usesOf({ table, processes, packs }: MemorySession): PackUse[] {
  const uses = new Map<number, PackUse>();
  for (const { pid, chunks } of processes) {
    for (const [pack, { live, from, to }] of table.usesOf(chunks)) {
      const before = uses.get(pack) ?? { live: 0, spans: [] };
      const pages = Math.floor((packs[pack]?.bytes ?? 0) / pageBytes);
      const spans = [...before.spans, { process: pid, from, to }];
      uses.set(pack, { pack, pages, live: before.live + live, spans });
    }
  }
  return [...uses.values()];
}

/** Chooses packs that hold little of use, or too many in one place, and has their pages stored anew in the next pass. */
function markWasteful(session: MemorySession): readonly number[] {
  const { table, rounds } = session;
  const uses = usesOf(session);
  // Once in a move: what its own rounds store stays as it is until the next.
  const merged = rounds.length === 0 ? packsToMerge(uses, maxRewrittenPages) : [];
  const others = uses.filter(({ pack }) => !merged.includes(pack));
  const chosen = [...merged, ...packsToRewrite(others, maxRewrittenPages)];
  const marks = new Uint8Array(table.rewrite);
  for (const pack of chosen) marks[pack] = 1;
  return chosen;
}
