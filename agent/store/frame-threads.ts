import type { Worker } from 'node:worker_threads';
import { PodferryError } from '../../proto/errors.ts';
import { hashPages } from '../memory/page-hasher.ts';
import { startWorker } from '../start-worker.ts';
import { openPack, sealPack, type PackKey, type SealedPack } from './frames.ts';

const threadsByDefault = 2;

/** A pack in its buffer. */
export interface FrameJob {
  readonly key: PackKey;
  /** The whole buffer: see BufferPool. */
  readonly area: SharedArrayBuffer;
  readonly rawAt: number;
  readonly rawBytes: number;
  /** Whether what is sealed is compressed. Default: where it is worth it. */
  readonly compresses?: boolean | undefined;
}

export interface OpenJob extends FrameJob {
  /** Length of each sealed frame. */
  readonly frames: readonly number[];
  /** The sealed pack when it does not lie at the end of the buffer. */
  readonly sealed?: SealedPlace | undefined;
  /** What is opened is hashed, too. */
  readonly hashing?: HashJob | undefined;
}

export interface HashJob {
  readonly seed: bigint;
  /** Room for two words for each whole page of the pack. @see PageHasher */
  readonly hashes: SharedArrayBuffer;
}

export interface SealedPlace {
  readonly area: SharedArrayBuffer;
  readonly at: number;
  readonly bytes: number;
}

/** The bytes of a sealed pack that lies by itself. */
export const bytesAt = (place: SealedPlace | undefined): Buffer | undefined =>
  place === undefined ? undefined : Buffer.from(place.area, place.at, place.bytes);

/** Seals and opens packs in place; who does it decides where the time goes. */
export interface Frames {
  /** @see sealPack */
  seal(job: FrameJob): Promise<SealedPack>;
  /** @see openPack */
  open(job: OpenJob): Promise<number | undefined>;
}

/** What a thread is asked. */
export interface Request extends OpenJob {
  readonly id: number;
  readonly kind: 'seal' | 'open';
}

export interface Answer {
  readonly id: number;
  readonly sealed?: SealedPack;
  readonly badFrame?: number | undefined;
  readonly failure?: string;
}

/** Opens a pack and, when it is what was sealed, hashes it. @see openPack */
export function openAndHash({ key, area, frames, rawAt, rawBytes, sealed, hashing }: OpenJob): number | undefined {
  const whole = Buffer.from(area);
  const badFrame = openPack(key, whole, frames, rawAt, rawBytes, bytesAt(sealed));
  if (badFrame === undefined && hashing !== undefined) {
    hashPages(whole.subarray(rawAt, rawAt + rawBytes), hashing.seed, new Int32Array(hashing.hashes));
  }
  return badFrame;
}

/** On the caller's thread, which is held up for some 10 ms a pack. */
export const inlineFrames: Frames = {
  seal: async ({ key, area, rawAt, rawBytes, compresses }) =>
    sealPack(key, Buffer.from(area), rawAt, rawBytes, compresses),
  open: async (job) => openAndHash(job),
};

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** A few worker threads that seal and open. They keep the process alive only while they work; close() ends them. */
export class FrameThreads implements Frames {
  readonly #threads: (Thread | undefined)[];
  #requests = 0;
  #isClosed = false;

  /** Starts the threads at once, so that they are there when the first pack is. */
  constructor(count = threadsByDefault) {
    this.#threads = Array.from({ length: count }, (_, i) => this.#start(i));
  }

  async seal(job: FrameJob): Promise<SealedPack> {
    const { sealed } = await this.#ask({ ...job, kind: 'seal', frames: [] });
    if (sealed === undefined) throw new PodferryError('INTERNAL', 'a sealing thread gave no answer to its question');
    return sealed;
  }

  async open(job: OpenJob): Promise<number | undefined> {
    return (await this.#ask({ ...job, kind: 'open' })).badFrame;
  }

  /** Ends the threads. What they work on is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#threads.map(async (thread) => thread?.worker.terminate()));
  }

  async #ask(question: Omit<Request, 'id'>): Promise<Answer> {
    if (this.#isClosed) throw new PodferryError('INTERNAL', 'the sealing threads were closed');
    const thread = this.#leastBusy();
    const id = (this.#requests += 1);
    return await new Promise<Answer>((resolve, reject) => {
      thread.waiting.set(id, { resolve, reject });
      thread.worker.ref();
      thread.worker.postMessage({ ...question, id } satisfies Request);
    });
  }

  #leastBusy(): Thread {
    const threads = this.#threads.map((thread, i) => (this.#threads[i] = thread ?? this.#start(i)));
    return threads.reduce((best, next) => (next.waiting.size < best.waiting.size ? next : best));
  }

  #start(index: number): Thread {
    const waiting = new Map<number, Waiting>();
    const worker = startWorker(import.meta.url, 'frame-worker');
    const thread = { worker, waiting };
    worker.unref();
    worker.on('message', (answer: Answer) => {
      const asked = waiting.get(answer.id);
      waiting.delete(answer.id);
      if (waiting.size === 0) worker.unref();
      if (answer.failure === undefined) asked?.resolve(answer);
      else asked?.reject(new PodferryError('INTERNAL', `sealing failed: ${answer.failure}`));
    });
    const ended = (error?: unknown): void => {
      // The next question starts a new one in its place.
      if (this.#threads[index] === thread) this.#threads[index] = undefined;
      for (const { reject } of waiting.values()) {
        reject(new PodferryError('INTERNAL', 'a sealing thread ended', {}, { cause: error }));
      }
      waiting.clear();
    };
    worker.on('error', ended);
    worker.on('exit', () => ended());
    return thread;
  }
}
