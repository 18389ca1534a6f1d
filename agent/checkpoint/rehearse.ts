import { findRuns } from '../memory/lazy-runs.ts';
import { readAddressSpace, type MemorySession } from '../memory/session.ts';
import { encodeManifest } from '../store/manifest.ts';
import { PageRunsWriter } from '../store/page-runs.ts';
import type { Sealing } from '../store/sealing.ts';
import { numberPacks } from './number-packs.ts';

/** Enough for the compiler to be done with it. */
const rounds = 3;
const lazyFlags = 6;

/**
 * Makes the index of a checkpoint from what is known so far, and throws it away: in the freeze the same code then runs compiled, which it is not
 * the first time in a process. To be called while the application runs; takes some tenths of a second per GiB of scattered pages.
 */
export function rehearse(session: MemorySession, sealing: Sealing): void {
  for (let round = 0; round < rounds; round += 1) {
    const known = Array.from(session.processes, ({ pid, chunks }) => {
      const runs = new PageRunsWriter();
      for (const range of readAddressSpace(pid)?.lazy ?? []) findRuns(session.table, chunks, range, lazyFlags, 0, runs);
      return { kind: 'pid' as const, id: pid, runs: runs.runs() };
    });
    const { pages, packs } = numberPacks({ images: [], pages: known, archive: undefined }, session.packs);
    const facts = { criu: '', kernel: '', machine: '', cpuFlags: [] };
    const nothing = { generation: 0, facts, rootPid: 1, stoppedBefore: [], stdio: [], images: [] };
    encodeManifest({ checkpoint: 'rehearsal', instance: sealing.instance, ...nothing, packs, pages }, sealing);
  }
}
