import type { Clock } from '../clock.ts';

export interface QueueOptions {
  /** Works on one key; `requeueAfterMs` brings it back. A throw brings it back with the key's back-off. */
  readonly work: (key: string) => Promise<{ readonly requeueAfterMs?: number | undefined }>;
  readonly workers: number;
  readonly clock: Clock;
  readonly minBackOffMs?: number;
  readonly maxBackOffMs?: number;
  /** Told about every throw, with the delay that follows. */
  readonly onError: (key: string, error: unknown, delayMs: number) => void;
}

export interface Queue {
  /** Wakes the key: at once, or after a delay. An earlier wake-up wins over a later one. */
  add(key: string, delayMs?: number): void;
  /** No new work begins; resolves when the work under way has ended. */
  stop(): Promise<void>;
}

/**
 * A work queue of keys: a key is worked on by one worker at a time, a key woken while it is worked on runs once more
 * afterwards, and a key that fails comes back later and later.
 */
export function createQueue(options: QueueOptions): Queue {
  const { work, workers, clock, minBackOffMs = 100, maxBackOffMs = 30_000, onError } = options;
  const ready = new Set<string>();
  const active = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { readonly atMs: number; readonly timer: NodeJS.Timeout }>();
  const running = new Set<Promise<void>>();
  let isStopped = false;

  function add(key: string, delayMs = 0): void {
    if (isStopped) return;
    const waiting = delayed.get(key);
    if (delayMs > 0) {
      const atMs = clock.now() + delayMs;
      if (ready.has(key) || (waiting !== undefined && waiting.atMs <= atMs)) return;
      if (waiting !== undefined) clearTimeout(waiting.timer);
      delayed.set(key, { atMs, timer: setTimeout(() => add(key), delayMs) });
      return;
    }
    if (waiting !== undefined) {
      clearTimeout(waiting.timer);
      delayed.delete(key);
    }
    if (active.has(key)) again.add(key);
    else ready.add(key);
    pump();
  }

  function pump(): void {
    for (const key of ready) {
      if (active.size >= workers) return;
      ready.delete(key);
      active.add(key);
      const run = runOne(key);
      running.add(run);
      // runOne never rejects: it hands every error to onError
      void run.then(() => running.delete(run));
    }
  }

  async function runOne(key: string): Promise<void> {
    let requeueAfterMs: number | undefined;
    try {
      ({ requeueAfterMs } = await work(key));
      failures.delete(key);
    } catch (error) {
      const count = failures.get(key) ?? 0;
      failures.set(key, count + 1);
      requeueAfterMs = Math.min(minBackOffMs * 2 ** Math.min(count, 20), maxBackOffMs);
      onError(key, error, requeueAfterMs);
    }
    active.delete(key);
    if (again.delete(key)) add(key);
    else if (requeueAfterMs !== undefined) add(key, requeueAfterMs);
    pump();
  }

  return {
    add,
    async stop() {
      isStopped = true;
      for (const { timer } of delayed.values()) clearTimeout(timer);
      delayed.clear();
      ready.clear();
      await Promise.all(running);
    },
  };
}
