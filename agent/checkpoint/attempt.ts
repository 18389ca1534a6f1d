import { setMaxListeners } from 'node:events';
import { PodferryError, toPodferryError } from '../../proto/errors.ts';

/**
 * One try at a thing of several parts that live or die together: the first failure, the deadline or the caller's signal ends
 * all of them, and its reason is what the caller gets.
 */
export class Attempt {
  readonly #controller = new AbortController();
  readonly #doing: string;
  #endsAt: number;
  #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuter = (): void => this.fail(this.#outer?.reason);

  /** @param doing for messages: "checkpoint of pid 10000" */
  constructor(doing: string, deadlineMs: number, outer: AbortSignal | undefined) {
    this.#doing = doing;
    // Every put and read under way listens.
    setMaxListeners(0, this.signal);
    this.#endsAt = performance.now() + deadlineMs;
    this.#outer = outer;
    this.#timer = this.#endIn(deadlineMs);
    outer?.addEventListener('abort', this.#onOuter, { once: true });
    if (outer?.aborted === true) this.#onOuter();
  }

  /** Aborted with the first failure, a PodferryError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get remainingMs(): number {
    return Math.max(this.#endsAt - performance.now(), 0);
  }

  /** Ends the attempt. Only the first failure counts. */
  readonly fail = (error: unknown): void => {
    if (!this.signal.aborted) this.#controller.abort(toPodferryError(error, this.#doing));
  };

  /** Waits for a part, but not beyond the attempt's end. @throws the first failure */
  async race<T>(part: Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    let stop: (() => void) | undefined;
    const ended = new Promise<never>((_resolve, reject) => {
      stop = () => reject(toPodferryError(this.signal.reason, this.#doing));
      this.signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([part, ended]);
    } finally {
      if (stop !== undefined) this.signal.removeEventListener('abort', stop);
    }
  }

  /** Records the failure if it is the first one. @returns the first one */
  failure(error: unknown): PodferryError {
    this.fail(error);
    return toPodferryError(this.signal.reason, this.#doing);
  }

  #endIn(deadlineMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.fail(
        new PodferryError('DEADLINE_EXCEEDED', `${this.#doing} took longer than ${deadlineMs} ms`, { deadlineMs }),
      );
    }, deadlineMs);
  }

  /** Goes on without its caller: with a deadline of its own, from now, and without the signal. */
  carryOn(deadlineMs: number): void {
    this.end();
    this.#endsAt = performance.now() + deadlineMs;
    this.#timer = this.#endIn(deadlineMs);
  }

  /** Forgets deadline and signal. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onOuter);
  }
}
