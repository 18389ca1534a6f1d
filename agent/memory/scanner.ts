import { availableParallelism } from 'node:os';
import { PodferryError } from '../../proto/errors.ts';
import { batchesOf, type Piece } from './pass.ts';
import type { PageTable, ProcessChunks } from './page-table.ts';
import type { ScanCounts, ScanExtent, ScanReply } from './scan-messages.ts';
import { ScanThread } from './scan-thread.ts';

const maxThreads = 4;
/** Of one request: enough that asking costs little even when this thread has to wait for a processor, few enough that threads end together. */
const leastBatchChunks = 16;
const mostBatchChunks = 128;
const batchesOfThread = 8;

/** Gives a thread memory for changed pages, pack by pack. */
export interface PackSource {
  /** The last memory was filled that far (0: there was none): more. @throws when nothing can be stored any more */
  next(filledBytes: number): Promise<{ readonly pack: number; readonly memory: Uint8Array }>;
  /** The last memory was filled that far, and nothing follows. */
  end(filledBytes: number): void;
}

export interface ScanTarget {
  readonly pid: number;
  readonly chunks: ProcessChunks;
  readonly pieces: readonly Piece[];
  readonly extent: ScanExtent;
}

export interface PassOptions {
  readonly targets: readonly ScanTarget[];
  /** Its number: later ones are higher. */
  readonly pass: number;
  readonly newSource: () => PackSource;
  readonly signal: AbortSignal;
}

/** What each thread has to do, in order: what is neighbouring comes into the same packs. Pure. */
export function sharesOf<T>(jobs: readonly T[], threads: number): T[][] {
  const border = (thread: number): number => Math.round((jobs.length * thread) / threads);
  return Array.from({ length: threads }, (_, thread) => jobs.slice(border(thread), border(thread + 1)));
}

/** The next of a thread's own share; whoever has nothing left takes the last of whoever has most. */
export function nextOf<T>(shares: readonly T[][], own: number): T | undefined {
  const mine = shares[own]?.shift();
  if (mine !== undefined) return mine;
  return shares.toSorted((a, b) => b.length - a.length)[0]?.pop();
}

interface Job {
  readonly target: ScanTarget;
  readonly batch: readonly Piece[];
}

/** Goes through memory with several threads. */
export class Scanner {
  readonly #table: PageTable;
  readonly #threads: readonly ScanThread[];

  constructor(table: PageTable) {
    this.#table = table;
    const { seed, rewrite } = table;
    this.#threads = Array.from(
      { length: Math.min(maxThreads, availableParallelism()) },
      () => new ScanThread({ seed, rewrite }),
    );
  }

  /** Waits until every thread has started. @throws PodferryError INTERNAL */
  async ready(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.ask({ kind: 'flush' })));
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  /**
   * One pass over the targets, in which no chunk of a process may be twice: when it resolves the table says of each page in them what it is, and changed pages were handed over.
   * @throws the signal's reason, the source's error, PodferryError INTERNAL; the threads cannot be used any more then
   */
  async pass(options: PassOptions): Promise<ScanCounts> {
    const pieces = options.targets.reduce((sum, target) => sum + target.pieces.length, 0);
    const share = Math.ceil(pieces / (this.#threads.length * batchesOfThread));
    const chunks = Math.min(Math.max(share, leastBatchChunks), mostBatchChunks);
    const jobs: Job[] = options.targets.flatMap((target) =>
      batchesOf(target.pieces, chunks).map((batch) => ({ target, batch })),
    );
    const shares = sharesOf(jobs, this.#threads.length);
    const total = { present: 0, zero: 0, changed: 0 };
    if (jobs.length === 0) return total;
    const drive = async (thread: ScanThread, own: number): Promise<void> => {
      const source = options.newSource();
      for (let job = nextOf(shares, own); job !== undefined; job = nextOf(shares, own)) {
        const counts = await this.#scan(thread, job, options, source);
        total.present += counts.present;
        total.zero += counts.zero;
        total.changed += counts.changed;
      }
      const reply = await thread.ask({ kind: 'flush' });
      if (reply.kind === 'flushed') source.end(reply.bytes);
    };
    await Promise.all(this.#threads.map(drive));
    return total;
  }

  async #scan(thread: ScanThread, job: Job, options: PassOptions, source: PackSource): Promise<ScanCounts> {
    const { chunks, pid, extent } = job.target;
    const numbers = [...new Set(job.batch.map(({ chunk }) => chunk))];
    const spare = this.#table.take(numbers.filter((chunk) => !chunks.slots.has(chunk)).length);
    const slots = numbers.map((chunk) => chunks.slots.get(chunk) ?? spare.pop() ?? -1);
    let reply: ScanReply = await thread.ask({
      kind: 'scan',
      pid,
      pieces: job.batch.flatMap(({ chunk, from, to }) => [chunk, from, to]),
      slots,
      extent,
      slabs: this.#table.slabs,
    });
    while (reply.kind === 'full') {
      const { pack, memory } = await source.next(reply.bytes);
      options.signal.throwIfAborted();
      reply = await thread.ask({ kind: 'memory', pack, memory });
    }
    options.signal.throwIfAborted();
    if (reply.kind !== 'scanned') throw new PodferryError('INTERNAL', `a scan was answered by ${reply.kind}`);
    for (const [i, chunk] of numbers.entries()) {
      const slot = slots[i] ?? -1;
      if (reply.isUsed[i] === true) {
        chunks.slots.set(chunk, slot);
        chunks.passes.set(chunk, options.pass);
      } else if (extent === 'whole' || !chunks.slots.has(chunk)) {
        chunks.slots.delete(chunk);
        chunks.passes.delete(chunk);
        this.#table.giveBack([slot]);
      }
    }
    return reply.counts;
  }
}
