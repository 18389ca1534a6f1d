import type { TLSSocket } from 'node:tls';
import { PodferryError } from '../../proto/errors.ts';
import { frameHead, freezeWord } from './frames.ts';

export interface SenderOptions {
  /** An object that is not over this long after the store has it ends the connection. */
  readonly graceMs: number;
  /** Told once, when the connection fails. */
  readonly onFailure: (error: PodferryError) => void;
}

interface Job {
  /** Undefined: the word that the freeze begins. */
  readonly key: string | undefined;
  readonly body: Uint8Array;
  state: 'queued' | 'sending' | 'over';
  readonly done: Promise<void>;
  readonly finish: () => void;
}

/** An object on its way to the target. */
export interface Sending {
  /**
   * The store has the object: resolves when its bytes are not needed here any more, sent or given up. Never rejects, and
   * takes at most the sender's grace time.
   */
  settle(): Promise<void>;
}

const chunkBytes = 256 * 1024;

/** Sends objects one after the other, as fast as the target takes them. */
export class Sender {
  readonly #socket: TLSSocket;
  readonly #options: SenderOptions;
  readonly #queue: Job[] = [];
  #isWorking = false;
  #isOver = false;
  #bytes = 0;
  /** An object whose turn has not come this long after the store has it is not sent any more. */
  patienceMs = 0;

  constructor(socket: TLSSocket, options: SenderOptions) {
    this.#socket = socket;
    this.#options = options;
    let cause: Error | undefined;
    socket.on('error', (error) => {
      cause = error;
    });
    socket.on('close', () => this.#fail(`the connection to the target ended: ${cause?.message ?? 'closed'}`, cause));
    // the target sends nothing; without a reader its end would not be seen
    socket.resume();
  }

  /** Bytes of whole objects that were sent. */
  get bytes(): number {
    return this.#bytes;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Takes an object to send. Its bytes must stay as they are until `settle` resolves. */
  send(key: string, body: Uint8Array): Sending {
    const job = this.#queued(key, body);
    return { settle: () => this.#settle(job) };
  }

  /** Tells the target that the freeze begins, after what is queued. */
  announceFreeze(): void {
    this.#queued(undefined, new Uint8Array());
  }

  #queued(key: string | undefined, body: Uint8Array): Job {
    let finish = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const job: Job = { key, body, state: 'queued', done, finish };
    if (this.#isOver) this.#end(job);
    else {
      this.#queue.push(job);
      void this.#work();
    }
    return job;
  }

  /** Ends the connection; what is queued is given up. */
  close(): void {
    this.#isOver = true;
    for (const job of this.#queue.splice(0)) this.#end(job);
    this.#socket.destroySoon();
    // a target that takes nothing would keep the rest, and the socket, for ever
    setTimeout(() => this.#socket.destroy(), this.#options.graceMs).unref();
  }

  async #settle(job: Job): Promise<void> {
    if (job.state === 'queued' && !(await isDoneWithin(job.done, this.patienceMs)) && job.state === 'queued') {
      this.#queue.splice(this.#queue.indexOf(job), 1);
      this.#end(job);
    }
    if (await isDoneWithin(job.done, this.#options.graceMs)) return;
    this.#fail(`the target did not take ${job.key} within ${this.#options.graceMs} ms`);
  }

  /** Never rejects: a failure is the connection's. */
  async #work(): Promise<void> {
    if (this.#isWorking) return;
    this.#isWorking = true;
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      job.state = 'sending';
      try {
        await this.#write(job.key === undefined ? freezeWord : frameHead(job.key, job.body.byteLength));
        for (let at = 0; at < job.body.byteLength; at += chunkBytes) {
          await this.#write(job.body.subarray(at, at + chunkBytes));
        }
        this.#bytes += job.body.byteLength;
      } catch (error) {
        this.#fail(`send ${job.key}: ${error instanceof Error ? error.message : String(error)}`, error);
      }
      this.#end(job);
    }
    this.#isWorking = false;
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (this.#isOver) throw new PodferryError('DIRECT_FAILED', 'the connection has ended');
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(chunk, (error) => (error instanceof Error ? reject(error) : resolve()));
    });
  }

  #end(job: Job): void {
    job.state = 'over';
    job.finish();
  }

  #fail(message: string, cause?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.destroy();
    for (const job of this.#queue.splice(0)) this.#end(job);
    this.#options.onFailure(new PodferryError('DIRECT_FAILED', message, {}, { cause }));
  }
}

async function isDoneWithin(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
