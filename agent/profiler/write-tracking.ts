import type { PageRange } from '../memory/address-space.ts';
import { Tracker, type Written } from './tracker.ts';

/** A process that goes on failing is not stopped for it again and again. */
const maxAttempts = 3;

/** One process for ever; the object itself is its identity. */
export interface TrackedProcess {
  readonly pid: number;
}

export interface WriteTrackingOptions {
  /** Our program (placeholder/track.c). */
  readonly binary: string;
  /** Told once for each reason why memory is gone through wholly. */
  readonly onFallback: (why: string, pid?: number) => void;
}

/**
 * Says what the processes of a tree have written, where that can be known. Nothing here fails: what is not known is undefined, and then all of
 * that memory has to be gone through.
 */
export class WriteTracking {
  readonly #options: WriteTrackingOptions;
  readonly #told = new Set<string>();
  readonly #armed = new WeakSet<TrackedProcess>();
  readonly #attempts = new WeakMap<TrackedProcess, number>();
  #tracker: Tracker | undefined;
  #starting: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: WriteTrackingOptions) {
    this.#options = options;
  }

  /** Starts the tracker, the first time, and sees whether this kernel can do it. */
  async ready(): Promise<void> {
    this.#starting ??= this.#start();
    await this.#starting;
  }

  /** Whether it works at all. */
  get isOn(): boolean {
    return this.#tracker !== undefined;
  }

  /** Of the tracker's process. */
  get pid(): number | undefined {
    return this.#tracker?.pid;
  }

  /** Tracks a process from now on: what it writes in these ranges after this has resolved is known later. */
  async arm(process: TrackedProcess, ranges: readonly PageRange[]): Promise<void> {
    const attempts = (this.#attempts.get(process) ?? 0) + 1;
    if (this.#tracker === undefined || attempts > maxAttempts) return;
    this.#attempts.set(process, attempts);
    await this.#try(process.pid, async (tracker) => {
      await tracker.attach(process.pid);
      await tracker.look(process.pid, ranges, true);
      this.#armed.add(process);
    });
  }

  /** What was written since the last live look, or since arm(); undefined when that is not known. @see Tracker.look */
  async written(process: TrackedProcess, ranges: readonly PageRange[], isLive: boolean): Promise<Written | undefined> {
    if (!this.#armed.has(process)) return undefined;
    const written = await this.#try(process.pid, (tracker) => tracker.look(process.pid, ranges, isLive));
    if (written !== undefined && (!isLive || written.failed.length === 0 || written.failed.length < ranges.length)) {
      return written;
    }
    // It executes another program now, or its tracker is gone.
    this.#armed.delete(process);
    if (written !== undefined) await this.#try(process.pid, (tracker) => tracker.drop(process.pid));
    return undefined;
  }

  /** Nothing of it is left in the processes when it resolves. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const tracker = this.#tracker;
    this.#tracker = undefined;
    await tracker?.close();
    await this.#starting;
  }

  async #start(): Promise<void> {
    const tracker = new Tracker(this.#options.binary);
    try {
      await tracker.probe();
      if (!this.#isClosed) this.#tracker = tracker;
    } catch (error) {
      this.#tell(error);
    } finally {
      if (this.#tracker !== tracker) await tracker.close();
    }
  }

  async #try<T>(pid: number, ask: (tracker: Tracker) => Promise<T>): Promise<T | undefined> {
    const tracker = this.#tracker;
    if (tracker === undefined) return undefined;
    try {
      return await ask(tracker);
    } catch (error) {
      this.#tell(error, pid);
      return undefined;
    }
  }

  #tell(error: unknown, pid?: number): void {
    const why = error instanceof Error ? error.message : String(error);
    if (this.#told.has(why) || this.#isClosed) return;
    this.#told.add(why);
    this.#options.onFallback(why, pid);
  }
}
