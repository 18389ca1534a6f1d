import { setTimeout as delay } from 'node:timers/promises';
import { pageBytes } from '../pages/page-size.ts';
import { packBytes } from '../store/manifest.ts';
import { liveChanges, readChanges, type Changes } from './changes.ts';
import { packsToRewrite } from './compaction.ts';
import { piecesOf } from './pass.ts';
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
    const counts = await livePass(session, stored, rewritten, signal);
    for (const pack of rewritten) new Uint8Array(session.table.rewrite)[pack] = 0;
    await stored.settle();
    const round = { changedBytes: counts.changed * pageBytes, tookMs: performance.now() - startedAt };
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
  if (session.tracking?.isOn === true) await delay(deviceWritesMs);
  signal.throwIfAborted();
  const counts = await readChanges(session, withRewritten(session, changes, rewritten), {
    pass,
    newSource: () => stored.newSource(packBytes),
    signal,
  });
  // What was neither gone through nor confirmed is mapped no more.
  for (const { process } of changes) session.forgetBefore(process.chunks, pass);
  return counts;
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

/** Chooses packs that hold little of use and has their pages stored anew in the next pass. */
function markWasteful({ table, processes, packs }: MemorySession): readonly number[] {
  const live = table.livePages(Array.from(processes, ({ chunks }) => chunks));
  const uses = Array.from(live, ([pack, pages]) => ({
    pack,
    live: pages,
    pages: Math.floor((packs[pack]?.bytes ?? 0) / pageBytes),
  }));
  const chosen = packsToRewrite(uses, maxRewrittenPages);
  const marks = new Uint8Array(table.rewrite);
  for (const pack of chosen) marks[pack] = 1;
  return chosen;
}
