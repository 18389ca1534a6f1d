import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError, toPodferryError } from '../proto/errors.ts';
import { OrderKind, type Transfer } from '../proto/gen/agent/v1/agent.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import type { Journal } from './journal.ts';
import type { Drain, OrderResult } from './orders/context.ts';

/** Before each try to restore again what lost its pages. */
export const triesAfterMs: readonly number[] = [0, 500, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000];

/** A restored tree that nobody continues gets its pages all the same, after this time. */
export const idleFillMs = 1_000;

export interface DrainingDeps {
  readonly log: Log;
  readonly triesAfterMs?: readonly number[];
  readonly idleFillMs?: number;
  journal(): Journal;
  change(next: Partial<Journal>, transfer?: Transfer): Promise<void>;
  /** Restores journal().restoredFrom with every page; nothing of it exists. */
  restoreInFull(): Promise<OrderResult>;
  /** Continues what restoreInFull() left stopped. */
  goOn(): Promise<void>;
  /** Ends the container, as a crash of the application would, and tells the operator. */
  giveUp(failure: PodferryError): Promise<void>;
  /** Every page is in, or given up. */
  over(): void;
}

/** The rest of a lazy restore, after its order is done: no process ever runs on with pages missing for good. */
export interface Draining {
  /** Sees a drain through. To be called when the end of its order was reported. */
  follow(drain: Drain): void;
  /** The tree runs: its pages may come. */
  fill(): void;
  /**
   * Waits until an order may have the tree: a checkpoint must find every page, CONTINUE a tree that may run.
   * @throws PodferryError DRAINING at the order's deadline, or the signal's reason
   */
  wait(kind: OrderKind, signal: AbortSignal): Promise<void>;
  /** Resolves when nothing drains. */
  settled(): Promise<void>;
}

const needEveryPage: ReadonlySet<OrderKind> = new Set([OrderKind.ORDER_KIND_PRECOPY, OrderKind.ORDER_KIND_CHECKPOINT]);

export function createDraining(deps: DrainingDeps): Draining {
  const { log } = deps;
  let draining: Promise<void> | undefined;
  let restoring: Promise<void> | undefined;
  let prepared: Promise<void> | undefined;
  let fill: (() => void) | undefined;
  const finished = { draining: false, restoredFrom: undefined } as const;

  const restoreAgain = async (first: PodferryError, placeholder: Journal['placeholder']): Promise<void> => {
    let failure = first;
    for (const pauseMs of deps.triesAfterMs ?? triesAfterMs) {
      await delay(pauseMs);
      // A restarted container begins anew; what was in it is nobody's any more.
      if (deps.journal().placeholder?.startTime !== placeholder?.startTime) return deps.change(finished);
      try {
        const { journal, transfer } = await deps.restoreInFull();
        // The role stays: CONTINUE may have come long before.
        await deps.change({ ...journal, role: deps.journal().role, ...finished }, transfer);
        if (deps.journal().role !== 'restored') await deps.goOn();
        log.info('the application was restored again, with every page');
        return;
      } catch (error) {
        failure = toPodferryError(error, 'restore the application again');
        log.warn('the application could not be restored again yet', errorFields(failure));
      }
    }
    log.error('the application is given up: its pages cannot be had', errorFields(failure));
    await deps.change(finished);
    await deps.giveUp(failure);
  };

  const seeThrough = async (done: Promise<Transfer>): Promise<void> => {
    const { placeholder } = deps.journal();
    let transfer: Transfer;
    try {
      transfer = await done;
    } catch (error) {
      const failure = toPodferryError(error, 'put in the pages of the application');
      log.error('pages were lost on their way: the application is restored again', errorFields(failure));
      restoring = restoreAgain(failure, placeholder);
      return await restoring;
    }
    await deps.change(finished, transfer);
    const { lazy } = transfer;
    log.info('every page is in', {
      drainMs: lazy?.drainMs,
      faults: Number(lazy?.faults ?? 0),
      stallP99Us: lazy?.stallP99Us,
    });
  };

  /** Until CONTINUE finds a tree that may run. */
  const untilFit = async (all: Promise<void> | undefined): Promise<void> => {
    try {
      await prepared;
    } catch {
      // It is lost, which seeThrough() tells and puts right.
      return all;
    }
    await restoring;
  };

  return {
    follow(drain) {
      const timer = setTimeout(() => drain.fill(), deps.idleFillMs ?? idleFillMs);
      const mine = seeThrough(drain.done).finally(() => {
        clearTimeout(timer);
        if (draining === mine) draining = undefined;
        restoring = undefined;
        prepared = undefined;
        fill = undefined;
        deps.over();
      });
      draining = mine;
      fill = () => drain.fill();
      prepared = drain.prepare();
      prepared.catch(() => undefined); // drain.done says it
      // What is left is a fault of the journal's volume.
      mine.catch((error: unknown) => log.error('the end of a drain could not be recorded', errorFields(error)));
    },
    fill() {
      fill?.();
    },
    async wait(kind, signal) {
      if (draining === undefined) return;
      const isContinue = kind === OrderKind.ORDER_KIND_CONTINUE;
      const awaited = needEveryPage.has(kind) ? draining : isContinue ? untilFit(draining) : undefined;
      if (awaited === undefined) return;
      if (await endedBefore(awaited, signal)) return;
      const why: unknown = signal.reason;
      if (!(why instanceof PodferryError) || why.code !== 'DEADLINE_EXCEEDED') throw why;
      throw new PodferryError('DRAINING', 'pages of the last restore still arrive', {}, { cause: why });
    },
    async settled() {
      await draining;
    },
  };
}

/** Of a tree that is dead already. */
export function lostDrain(failure: PodferryError): Drain {
  const done = Promise.reject<Transfer>(failure);
  return {
    done,
    prepare: async () => {
      await done;
    },
    fill: () => undefined,
  };
}

async function endedBefore(awaited: Promise<void>, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  let stop = (): void => undefined;
  const aborted = new Promise<false>((resolve) => {
    stop = () => resolve(false);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    // A drain that failed in its end is over, too.
    return await Promise.race([
      awaited.then(
        () => true,
        () => true,
      ),
      aborted,
    ]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
