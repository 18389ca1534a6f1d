import { setMaxListeners } from 'node:events';
import { PodferryError, toPodferryError } from '../../proto/errors.ts';

/**
 * One try at a thing of several parts that live or die together: the first failure, the deadline or the caller's signal ends
 * all of them, and its reason is what the caller gets.
 */
export class Attempt {
  readonly #controller = new AbortController();
  readonly #doing: string;
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  readonly #outer: AbortSignal | undefined;
  readonly #onOuter = (): void => this.fail(this.#outer?.reason);

  /** @param doing for messages: "checkpoint of pid 10000" */
  constructor(doing: string, deadlineMs: number, outer: AbortSignal | undefined) {
    this.#doing = doing;
    // Every put and read under way listens.
    setMaxListeners(0, this.signal);
    this.#endsAt = performance.now() + deadlineMs;
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.fail(new PodferryError('DEADLINE_EXCEEDED', `${doing} took longer than ${deadlineMs} ms`, { deadlineMs }));
    }, deadlineMs);
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

  /** Forgets deadline and signal. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onOuter);
  }
}
