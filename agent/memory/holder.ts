import { readProcess } from '../launch/proc-stat.ts';
import type { WriteTracking } from '../profiler/write-tracking.ts';
import type { CheckpointRef } from '../store/manifest.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Baseline } from './baseline.ts';
import { MemorySession } from './session.ts';

/** A session that nobody asks for is given up: its threads and buffers are memory of the pod, and its packs are named by no checkpoint. */
const keptMs = 10 * 60_000;

/** What a session is good for: this very process, packs below this prefix, sealed with this key. */
export interface MemoryPurpose {
  readonly rootPid: number;
  readonly keyPrefix: string;
  readonly sealing: Pick<Sealing, 'id' | 'instance'>;
}

interface Kept {
  readonly session: MemorySession;
  readonly purpose: string;
  readonly timer: NodeJS.Timeout;
}

export interface TakeMemory {
  /** For a new session. */
  readonly newTracking?: (() => WriteTracking) | undefined;
  /** Whether a checkpoint, and so all that it names, is still in the store. Without it no new session begins with a baseline. */
  readonly isStored?: ((checkpoint: CheckpointRef) => Promise<boolean>) | undefined;
}

/**
 * Keeps what PRECOPY learned of the memory for the CHECKPOINT that follows, one order at a time having the session; and what the last checkpoint
 * holds of it, which a new session begins with.
 */
export class MemoryHolder {
  #kept: Kept | undefined;
  #last: { readonly baseline: () => Baseline; readonly purpose: string } | undefined;

  /** The session kept for this purpose, or a new one. Whoever has it keeps it again or closes it. @throws as isStored */
  async take(purpose: MemoryPurpose, { newTracking, isStored }: TakeMemory = {}): Promise<MemorySession> {
    const kept = this.#kept;
    const name = nameOf(purpose);
    this.#kept = undefined;
    if (kept !== undefined) {
      clearTimeout(kept.timer);
      let isOfUse = false;
      try {
        isOfUse = kept.purpose === name && (await isThere(kept.session.baseline, isStored));
      } finally {
        if (!isOfUse) await kept.session.close();
      }
      if (isOfUse) return kept.session;
    }
    if (this.#last?.purpose !== name) this.#last = undefined;
    const baseline = isStored === undefined ? undefined : this.#last?.baseline();
    if (await isThere(baseline, isStored)) return new MemorySession(purpose.rootPid, newTracking?.(), baseline);
    this.#last = undefined;
    return new MemorySession(purpose.rootPid, newTracking?.());
  }

  /** Remembers what is stored of a tree, in place of what was known before. Good for this very process, as the purpose says. */
  remember(baseline: () => Baseline, purpose: MemoryPurpose): void {
    this.#last = { baseline, purpose: nameOf(purpose) };
  }

  /** Keeps a session in which everything is durable. */
  keep(session: MemorySession, purpose: MemoryPurpose, forMs = keptMs): void {
    const timer = setTimeout(() => {
      this.#kept = undefined;
      void session.close();
    }, forMs);
    timer.unref();
    this.#kept = { session, purpose: nameOf(purpose), timer };
  }
}

/** Packs of a checkpoint that retention has removed must never be named again. */
async function isThere(baseline: Baseline | undefined, isStored: TakeMemory['isStored']): Promise<boolean> {
  return baseline === undefined || ((await isStored?.(baseline.checkpoint)) ?? false);
}

function nameOf({ rootPid, keyPrefix, sealing }: MemoryPurpose): string {
  return JSON.stringify([rootPid, readProcess(rootPid)?.startTime ?? '', keyPrefix, sealing.id, sealing.instance]);
}
