import { pageBytes } from '../pages/page-size.ts';
import { packBytes } from '../store/manifest.ts';
import { packsToRewrite } from './compaction.ts';
import { piecesOf } from './pass.ts';
import { nextRound, rateOf, type NextRound, type Round, type RoundLimits } from './rounds.ts';
import { readAddressSpace, type MemorySession, type SessionUpload } from './session.ts';

/** Most that one round stores anew to put old packs out of use. */
const maxRewrittenPages = (64 * 1024 * 1024) / pageBytes;

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
    const counts = await livePass(session, stored, signal);
    for (const pack of rewritten) new Uint8Array(session.table.rewrite)[pack] = 0;
    await stored.settle();
    const round = { changedBytes: counts.changed * pageBytes, tookMs: performance.now() - startedAt };
    session.addRound(round, counts.present * pageBytes);
    rounds.push(round);
  }
}

async function livePass(session: MemorySession, stored: SessionUpload, signal: AbortSignal) {
  const targets = session.lookAtTree().map((process) => ({
    ...process,
    pieces: piecesOf(readAddressSpace(process.pid)?.lazy ?? []),
  }));
  const pass = session.nextPass();
  const newSource = () => stored.newSource(packBytes);
  const counts = await session.scanner.pass({ targets, pass, isWhole: true, newSource, signal });
  // What was not gone through is mapped no more.
  for (const { chunks } of targets) session.forgetBefore(chunks, pass);
  return counts;
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
