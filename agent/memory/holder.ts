import { readProcess } from '../launch/proc-stat.ts';
import type { WriteTracking } from '../profiler/write-tracking.ts';
import type { Sealing } from '../store/sealing.ts';
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

/** Keeps what PRECOPY learned of the memory for the CHECKPOINT that follows. One order at a time has the session. */
export class MemoryHolder {
  #kept: Kept | undefined;

  /**
   * The session kept for this purpose, or a new one. Whoever has it keeps it again or closes it.
   * @param newTracking for a new one
   */
  async take(purpose: MemoryPurpose, newTracking?: () => WriteTracking): Promise<MemorySession> {
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept !== undefined) {
      clearTimeout(kept.timer);
      if (kept.purpose === nameOf(purpose)) return kept.session;
      await kept.session.close();
    }
    return new MemorySession(purpose.rootPid, newTracking?.());
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

function nameOf({ rootPid, keyPrefix, sealing }: MemoryPurpose): string {
  return JSON.stringify([rootPid, readProcess(rootPid)?.startTime ?? '', keyPrefix, sealing.id, sealing.instance]);
}
