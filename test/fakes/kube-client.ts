import type { Call, KubeClient, Watching } from '../../operator/kube/client.ts';
import { ApiError } from '../../operator/kube/errors.ts';
import type { Pod } from '../../operator/kube/objects.ts';

/** An API server that answers with what the test says. */
export function answering(answer: (call: Call) => unknown): KubeClient {
  return {
    call: async (call) => answer(call),
    watch: async () => {
      throw new Error('this server has no watches');
    },
  };
}

/** One collection with list and watch, which the test changes, breaks and lets go on. */
export class FakeCollection implements KubeClient {
  readonly watches: Watching[] = [];
  lists = 0;
  items: Pod[] = [];
  /** Thrown by the next calls, one each. */
  readonly failures: Error[] = [];
  private version = 1;
  private end: ((error?: Error) => void) | undefined;

  async call(): Promise<unknown> {
    this.lists += 1;
    this.throwNext();
    return { metadata: { resourceVersion: String(this.version) }, items: this.items };
  }

  async watch(watching: Watching): Promise<void> {
    this.throwNext();
    this.watches.push(watching);
    watching.onOpen();
    await new Promise<void>((resolve, reject) => {
      this.end = (error) => (error === undefined ? resolve() : reject(error));
      watching.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Tells the present watch of a change. */
  tell(type: string, object: Pod): void {
    this.version += 1;
    this.watches.at(-1)?.onEvent(type, object);
  }

  /** Ends the present watch: as servers do now and then, or with an error. */
  break(error?: Error): void {
    this.end?.(error);
  }

  private throwNext(): void {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  }
}

export function apiError(status: number, reason = 'Unknown'): ApiError {
  return new ApiError(status, reason, `simulated ${status}`);
}
