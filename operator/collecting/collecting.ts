import { errorKinds, PodferryError } from '../../proto/errors.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { Clock } from '../clock.ts';
import type { KubeClient } from '../kube/client.ts';
import { ApiError } from '../kube/errors.ts';
import type { Cache } from '../kube/informer.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { createQueue } from '../kube/queue.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { collectRound, newPass, roundLimits } from './collect-round.ts';
import { askLiving, livingInstances } from './living.ts';

/** When rounds begin; each time a tenth more or less. */
export interface CollectingTimes {
  /** After this operator began to lead. */
  readonly firstMs: number;
  /** Between two looks through the whole store. */
  readonly everyMs: number;
  /** When a round has reached its limits. */
  readonly goOnMs: number;
  readonly deadlineMs: number;
}

export const usualTimes: CollectingTimes = {
  firstMs: 5 * 60_000,
  everyMs: 60 * 60_000,
  goOnMs: 60_000,
  deadlineMs: 10 * 60_000,
};

export interface CollectingOptions {
  readonly objects: Pick<ObjectStore, 'pages' | 'delete'>;
  readonly prefix: string;
  readonly ttlMs: number;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly pods: Pick<Cache<Pod>, 'list'>;
  readonly migrations: Pick<Cache<KubeObject>, 'list'>;
  readonly log: Log;
  readonly times?: CollectingTimes | undefined;
}

/** The only key of the queue. */
const wholeStore = 'store';

const tenth = (ms: number): number => ms * (0.9 + Math.random() / 5);

/** Looks through the store now and then and removes what instances that are gone have left there, until `stop`. */
export function startCollecting(options: CollectingOptions): { stop(): Promise<void> } {
  const { client, clock, pods, migrations, log, times = usualTimes } = options;
  const stopping = new AbortController();
  let pass = newPass();
  let toldForeign = 0;
  let toldFailure: string | undefined;

  async function round(): Promise<{ readonly requeueAfterMs: number }> {
    const deadline = new AbortController();
    const late = new PodferryError('DEADLINE_EXCEEDED', `a look through the store took ${times.deadlineMs} ms`);
    const timer = setTimeout(() => deadline.abort(late), times.deadlineMs);
    try {
      const isWhole = await collectRound(
        {
          ...options,
          limits: roundLimits,
          cached: () => livingInstances(pods.list(), migrations.list()),
          ask: async (namespace) => askLiving(client, namespace),
        },
        pass,
        AbortSignal.any([stopping.signal, deadline.signal]),
      );
      if (!isWhole) return { requeueAfterMs: tenth(times.goOnMs) };
    } finally {
      clearTimeout(timer);
    }
    const { foreign, example, failure } = pass;
    pass = newPass();
    if (foreign > 0 && foreign !== toldForeign) {
      log.info('objects that are not of Podferry lie below its prefix and stay', { count: foreign, example });
    }
    toldForeign = foreign;
    if (failure !== undefined) throw failure;
    toldFailure = undefined;
    return { requeueAfterMs: tenth(times.everyMs) };
  }

  const queue = createQueue({
    work: round,
    workers: 1,
    clock,
    minBackOffMs: times.goOnMs,
    maxBackOffMs: times.everyMs,
    onError(_key, error, delayMs) {
      if (stopping.signal.aborted) return;
      const what = kindOf(error);
      const level = what === toldFailure ? 'debug' : isForPeople(error) ? 'error' : 'warn';
      toldFailure = what;
      log.log(level, 'instances that are gone could not be removed from the store', { delayMs, ...errorFields(error) });
    },
  });
  queue.add(wholeStore, tenth(times.firstMs));
  return {
    async stop() {
      stopping.abort(new PodferryError('CANCELLED', 'the operator stops'));
      await queue.stop();
    },
  };
}

/** What makes two failures the same to whoever reads the log. */
function kindOf(error: unknown): string {
  if (error instanceof PodferryError) return error.code;
  return error instanceof ApiError ? `${error.status} ${error.reason}` : String(error);
}

const isForPeople = (error: unknown): boolean => error instanceof PodferryError && !errorKinds[error.code].retryable;
