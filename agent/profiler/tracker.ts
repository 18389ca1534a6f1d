import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { PageRange } from '../memory/address-space.ts';
import {
  decodeTrackReply,
  encodeTrackRequest,
  trackReplyBytes,
  type TrackReply,
  type TrackRequest,
} from './track-wire.ts';

/** Wiping the notes takes about 10 ms for a GiB, and attaching waits half a second for a thread. */
const answerMs = 10_000;
/** Reading them takes about 1 ms, and the application stands. */
const frozenAnswerMs = 1_000;

export interface Written {
  /** Pages to be read again. All of them are there, unless the process has taken them away since. */
  readonly written: readonly PageRange[];
  /** Of the ranges asked for: not tracked, so anything may have been written there. */
  readonly failed: readonly PageRange[];
  /** Pages that are there; empty when the look is not live. */
  readonly there: readonly PageRange[];
}

interface Waiting {
  readonly withinMs: number;
  resolve(reply: TrackReply): void;
  reject(error: Error): void;
}

/**
 * Knows which pages of processes were written, from the kernel itself, while they run. A process of its own does it (track.c): nothing of
 * this stays behind when it ends, however it ends. No failure of it matters to anybody but whoever asks: they look at everything instead.
 */
export class Tracker {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;
  readonly #waiting: Waiting[] = [];
  #received: Buffer[] = [];
  #receivedBytes = 0;
  #expectedBytes: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: Error | undefined;

  /** Starts it; whether it works, probe() says. */
  constructor(binary: string) {
    this.#child = spawn(binary, ['track'], { env: {}, stdio: ['pipe', 'pipe', 'ignore'] });
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#fail(new Error('the program that tracks writes has ended'));
        resolve();
      });
    });
    this.#child.once('error', (error) => this.#fail(error));
    this.#child.stdin.on('error', (error) => this.#fail(error));
    this.#child.stdout.on('data', (bytes: Buffer) => this.#receive(bytes));
    // The agent can end without it, and then it ends too.
    this.#child.unref();
  }

  /** Of its process, for who wants to kill it; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Tries it on memory of its own. @throws Error why writes cannot be tracked on this machine */
  async probe(): Promise<void> {
    await this.#ask({ kind: 'probe' });
  }

  /**
   * Prepares a process: one of its threads is stopped for a moment. Nothing is known of its memory yet.
   * @throws Error why it cannot be done, which changes nothing for the process
   */
  async attach(pid: number): Promise<void> {
    await this.#ask({ kind: 'attach', pid });
  }

  /**
   * What was written in these ranges since the last live look at them. A live look begins to track memory that is new, of which everything
   * counts as written, and says what is there; any other changes nothing in the process, and new memory fails.
   * @throws Error when nothing is known of the process
   */
  async look(pid: number, ranges: readonly PageRange[], isLive: boolean): Promise<Written> {
    return await this.#ask({ kind: 'look', pid, ranges, isLive });
  }

  /** Ends the tracking of a process. @throws Error when the tracker has failed */
  async drop(pid: number): Promise<void> {
    await this.#ask({ kind: 'drop', pid });
  }

  /** Undoes everything. Resolves when it is gone. */
  async close(): Promise<void> {
    this.#fail(new Error('the tracker is closed'));
    await this.#ended;
  }

  async #ask(request: TrackRequest): Promise<TrackReply> {
    if (this.#failure !== undefined) throw this.#failure;
    const withinMs = request.kind === 'look' && !request.isLive ? frozenAnswerMs : answerMs;
    const answered = new Promise<TrackReply>((resolve, reject) => this.#waiting.push({ withinMs, resolve, reject }));
    this.#child.stdin.write(encodeTrackRequest(request));
    this.#timer ??= this.#startTimer();
    const reply = await answered;
    if (reply.failure !== undefined) throw new Error(reply.failure);
    return reply;
  }

  #receive(bytes: Buffer): void {
    this.#received.push(bytes);
    this.#receivedBytes += bytes.byteLength;
    while (this.#receivedBytes >= (this.#expectedBytes ?? 1)) {
      const all = this.#received.length === 1 ? (this.#received[0] ?? bytes) : Buffer.concat(this.#received);
      this.#received = [all];
      this.#expectedBytes = trackReplyBytes(all);
      if (this.#expectedBytes === undefined || all.byteLength < this.#expectedBytes) return;
      const rest = all.subarray(this.#expectedBytes);
      this.#received = rest.byteLength === 0 ? [] : [rest];
      this.#receivedBytes = rest.byteLength;
      const reply = decodeTrackReply(all.subarray(0, this.#expectedBytes));
      this.#expectedBytes = undefined;
      clearTimeout(this.#timer);
      const waiting = this.#waiting.shift();
      this.#timer = this.#startTimer();
      waiting?.resolve(reply);
    }
  }

  /** For the request that is answered next. */
  #startTimer(): NodeJS.Timeout | undefined {
    const withinMs = this.#waiting[0]?.withinMs;
    if (withinMs === undefined) return undefined;
    return setTimeout(() => this.#fail(new Error(`the tracker said nothing for ${withinMs} ms`)), withinMs);
  }

  /** For good. */
  #fail(error: Error): void {
    this.#failure ??= error;
    clearTimeout(this.#timer);
    this.#child.kill('SIGKILL');
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
  }
}
