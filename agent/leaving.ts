import type { RestartPolicy } from './config.ts';
import type { Journal } from './journal.ts';
import { type End, type LastWord, openLastWord } from './launch/last-word.ts';
import type { Placeholder } from './launch/placeholder.ts';

/**
 * When the agent of a pod that is to complete (of a Job) ends: an ordinary sidecar that stayed would keep its pod running
 * for ever. Native sidecars are ended by the kubelet and have no need of this.
 */
export interface Leaving {
  /** The container that was found at a look, or none. */
  see(placeholder: Placeholder | undefined): void;
  /** The application's container has ended and is not started again. */
  isDue(journal: Pick<Journal, 'role' | 'placeholder'>): boolean;
  close(): void;
}

/** The kubelet starts a failed container again after 5 minutes at the latest: one that is not back by then had succeeded. */
const longestBackOffMs = 360_000;

/**
 * @param policy undefined: the pod runs for ever, and its agent with it
 * @param now in milliseconds
 * @see kubernetes pkg/kubelet/kubelet.go: MaxContainerBackOff
 */
export function createLeaving(
  policy: RestartPolicy | undefined,
  now: () => number,
  open: (placeholder: Placeholder) => LastWord | undefined = openLastWord,
): Leaving {
  let followed: { readonly placeholder: Placeholder; readonly word: LastWord | undefined } | undefined;
  let ended: { readonly end: End | undefined; readonly sinceMs: number } | undefined;

  function close(): void {
    followed?.word?.close();
    followed = undefined;
  }

  function follow(placeholder: Placeholder): void {
    ended = undefined;
    const known = followed?.placeholder;
    if (known?.pid === placeholder.pid && known.startTime === placeholder.startTime) return;
    close();
    followed = { placeholder, word: open(placeholder) };
  }

  function part(): void {
    if (ended !== undefined) return;
    const end = followed?.word?.read();
    if (end === 'running') return;
    ended = { end, sinceMs: now() };
    close();
  }

  return {
    see(placeholder) {
      if (policy === undefined) return;
      if (placeholder === undefined) part();
      else follow(placeholder);
    },
    isDue({ role, placeholder }) {
      // A container that never ran is still to come; one that moves away, or is moved here, is the operator's.
      if (ended === undefined || placeholder === undefined || role !== 'serving') return false;
      if (policy === 'Never') return true;
      const { end, sinceMs } = ended;
      return typeof end === 'object' ? end.exitCode === 0 : end === undefined && now() - sinceMs > longestBackOffMs;
    },
    close,
  };
}
