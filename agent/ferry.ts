import { setTimeout as delay } from 'node:timers/promises';
import { assertNever, PodferryError, toPodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import {
  OrderKind,
  OrderStatus,
  type AgentState,
  type Order,
  type Transfer,
  type Welcome,
} from '../proto/gen/agent/v1/agent.ts';
import { connectToTarget, isLinkOver } from './direct/lifetime.ts';
import type { DirectLinks } from './direct/links.ts';
import { createLinks } from './direct/tls-links.ts';
import { KitHolder } from './checkpoint/restore-kit.ts';
import type { HostFacts } from './store/manifest.ts';
import type { Config } from './config.ts';
import type { Journal, JournalFile } from './journal.ts';
import { createCollecting } from './collecting.ts';
import { createDraining, lostDrain } from './draining.ts';
import { continueTree, applicationTree } from './launch/process-tree.ts';
import { findPlaceholder, type Placeholder } from './launch/placeholder.ts';
import { MemoryHolder } from './memory/holder.ts';
import { admit } from './orders/admit.ts';
import { checkpoint } from './orders/checkpoint.ts';
import type { OrderContext, RunOrder } from './orders/context.ts';
import { precopy } from './orders/precopy.ts';
import { restore } from './orders/restore.ts';
import { continueRestored, fullRestore, killIncomplete, preflight, resume, retire } from './orders/short-orders.ts';
import { warm } from './orders/warm.ts';
import { prepareTarget, startApplication } from './application.ts';
import { afterRestart, phaseOf } from './roles.ts';
import { createS3Store } from './store/s3.ts';

const runners: Readonly<Partial<Record<OrderKind, RunOrder>>> = {
  [OrderKind.ORDER_KIND_PREFLIGHT]: preflight,
  [OrderKind.ORDER_KIND_CHECKPOINT]: checkpoint,
  [OrderKind.ORDER_KIND_RESUME]: resume,
  [OrderKind.ORDER_KIND_RETIRE]: retire,
  [OrderKind.ORDER_KIND_RESTORE]: restore,
  [OrderKind.ORDER_KIND_CONTINUE]: continueRestored,
  [OrderKind.ORDER_KIND_WARM]: warm,
  [OrderKind.ORDER_KIND_PRECOPY]: precopy,
};

const lookEveryMs = 250;
const lookForFirstEveryMs = 20;

export interface FerryDeps {
  readonly config: Config;
  readonly journal: JournalFile;
  readonly facts: HostFacts;
  readonly agentRoot: string;
  readonly log: Log;
  /** Without it: real ones. */
  readonly links?: DirectLinks;
  report(state: AgentState): void;
}

/** The agent's one piece of state: the pod's application, where it is on its way, and the order that moves it. */
export interface Ferry {
  state(): AgentState;
  welcome(welcome: Welcome): void;
  /** Takes an order; what becomes of it is told by the states reported. */
  order(order: Order): void;
  /** Watches the container, starts the application when it is due; until the signal. */
  watch(signal: AbortSignal): Promise<void>;
}

/**
 * Reads the journal, puts right what a restart of the agent interrupted, and returns the ferry.
 * An interrupted checkpoint is rolled back here: nothing can have been committed on it.
 */
export async function createFerry(deps: FerryDeps): Promise<Ferry> {
  const { config, log } = deps;
  let journal: Journal = (await deps.journal.read()) ?? {
    role: config.restoreFor === undefined ? 'serving' : 'waiting',
    stopped: [],
    draining: false,
  };
  let placeholder: Placeholder | undefined;
  let home: (OrderContext['home'] & { close(): void }) | undefined;
  const links = deps.links ?? createLinks({ log });
  const memory = new MemoryHolder();
  const kits = new KitHolder();
  let transfer: Transfer | undefined;
  let reasons: readonly string[] = [];
  let underWay: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;

  const state = (): AgentState => ({
    phase: phaseOf(journal),
    migrationUid: journal.order?.migrationUid ?? '',
    attempt: journal.order?.attempt ?? 0,
    order: journal.order?.kind ?? OrderKind.ORDER_KIND_UNSPECIFIED,
    status: journal.order?.status ?? OrderStatus.ORDER_STATUS_UNSPECIFIED,
    failure: journal.order?.failure,
    checkpoint: journal.checkpoint,
    transfer,
    appPid: journal.appPid ?? 0,
    preflight: [...reasons],
    directPort: links.port,
    draining: journal.draining,
  });

  const change = async (next: Partial<Journal>): Promise<void> => {
    journal = { ...journal, ...next };
    await deps.journal.write(journal);
    deps.report(state());
  };

  const endOrder = async (
    status: OrderStatus,
    failure: PodferryError | undefined,
    next: Partial<Journal> = {},
  ): Promise<void> => {
    const order = journal.order;
    if (order === undefined) return;
    await change({
      ...next,
      order: {
        ...order,
        status,
        ...(failure === undefined ? {} : { failure: { code: failure.code, message: failure.message } }),
      },
    });
  };

  const contextFor = (of: Placeholder, orderLog: Log, signal: AbortSignal, deadlineMs: number): OrderContext => ({
    config,
    log: orderLog,
    agentRoot: deps.agentRoot,
    facts: deps.facts,
    journal,
    placeholder: of,
    home,
    links,
    memory,
    kits,
    signal,
    deadlineMs,
  });

  const drains = createDraining({
    log,
    journal: () => journal,
    change: async (next, moved) => {
      if (moved !== undefined) transfer = { ...moved, directBytes: BigInt(links.bytes) };
      await change(next);
    },
    restoreInFull: async () => {
      if (placeholder === undefined || home === undefined)
        throw new PodferryError('PLACEHOLDER_MISSING', 'the container or the operator is not there yet');
      const order = fullRestore(journal);
      const signal = AbortSignal.timeout(order.timeoutMs);
      return restore(order, contextFor(placeholder, log, signal, order.timeoutMs));
    },
    goOn: async () => {
      continueTree(journal.stopped);
      await change({ stopped: [] });
    },
    giveUp: async (failure) => {
      if (journal.role === 'restored') await endOrder(OrderStatus.ORDER_STATUS_FAILED, failure, { role: 'waiting' });
      if (placeholder !== undefined) process.kill(placeholder.pid, 'SIGTERM');
    },
    over: () => links.close(),
  });

  const collecting = createCollecting({
    log,
    now: () => performance.now(),
    journal: () => journal,
    home: () => home,
  });

  if (journal.draining) {
    try {
      await killIncomplete(journal);
    } catch (error) {
      log.error('what the last agent left incomplete could not be killed', errorFields(error));
    }
    drains.follow(lostDrain(new PodferryError('AGENT_LOST', 'the agent was restarted before every page was in')));
  }
  if (journal.order?.status === OrderStatus.ORDER_STATUS_WORKING) {
    const interrupted = new PodferryError('AGENT_LOST', 'the agent was restarted in the middle of the order');
    if (journal.order.kind === OrderKind.ORDER_KIND_CHECKPOINT && journal.appPid !== undefined && !journal.draining) {
      try {
        continueTree(applicationTree(journal.appPid).processes);
      } catch (error) {
        log.warn('the application that was being checkpointed is gone', errorFields(error));
      }
    }
    const role = journal.order.kind === OrderKind.ORDER_KIND_CHECKPOINT ? 'serving' : journal.role;
    await endOrder(OrderStatus.ORDER_STATUS_FAILED, interrupted, { role });
  }

  const runOrder = async (order: Order, abort: AbortController, before: Promise<void> | undefined): Promise<void> => {
    await before; // a checkpoint that RESUME has aborted continues the tree itself
    const started = performance.now();
    const orderLog = log.child({ migration: order.migrationUid, attempt: order.attempt, order: OrderKind[order.kind] });
    // what the drain of a restore cost is told until the next move
    if (order.kind !== OrderKind.ORDER_KIND_CONTINUE) transfer = undefined;
    const { kind, migrationUid, attempt } = order;
    const isCheckpoint = kind === OrderKind.ORDER_KIND_CHECKPOINT;
    await change({
      order: { kind, migrationUid, attempt, status: OrderStatus.ORDER_STATUS_WORKING },
      ...(isCheckpoint ? { role: 'frozen' } : {}),
    });
    const timer = setTimeout(() => {
      abort.abort(new PodferryError('DEADLINE_EXCEEDED', `the order was not done within ${order.timeoutMs} ms`));
    }, order.timeoutMs);
    try {
      const runner = runners[kind];
      if (runner === undefined || placeholder === undefined)
        throw new PodferryError('PLACEHOLDER_MISSING', `container ${config.original.container} does not run`);
      await collecting.breakOff();
      await drains.wait(kind, abort.signal);
      await connectToTarget(order, links, orderLog);
      const result = await runner(order, contextFor(placeholder, orderLog, abort.signal, order.timeoutMs));
      if (result.transfer !== undefined) transfer = { ...result.transfer, directBytes: BigInt(links.bytes) };
      if (result.preflight !== undefined) reasons = result.preflight;
      await endOrder(OrderStatus.ORDER_STATUS_DONE, undefined, result.journal);
      if (result.drain !== undefined) drains.follow(result.drain);
      if (kind === OrderKind.ORDER_KIND_CONTINUE) drains.fill();
      orderLog.info('order done', { tookMs: Math.round(performance.now() - started) });
    } catch (thrown) {
      const error = toPodferryError(thrown, `carry out ${OrderKind[kind]}`);
      orderLog.error('order failed', errorFields(error));
      await endOrder(OrderStatus.ORDER_STATUS_FAILED, error, isCheckpoint ? { role: 'serving' } : {});
    } finally {
      clearTimeout(timer);
      const status = journal.order?.status ?? OrderStatus.ORDER_STATUS_UNSPECIFIED;
      if (isLinkOver(kind, status, journal.draining)) links.close();
    }
  };

  /** One look at the container: a new placeholder means that it was (re)started. */
  const look = async (): Promise<void> => {
    const found = await findPlaceholder();
    placeholder = found;
    if (found === undefined) return;
    const isKnown = journal.placeholder?.pid === found.pid && journal.placeholder.startTime === found.startTime;
    if (!isKnown) {
      const role = afterRestart[journal.role];
      const gone = { appPid: undefined, stopped: [], draining: false, restoredFrom: undefined };
      await change({ role, placeholder: found, ...gone });
      if (role === 'waiting') await prepareTarget(found, deps);
    }
    if (journal.role === 'serving' && journal.appPid === undefined && underWay === undefined) {
      await change({ appPid: await startApplication(found, deps) });
      log.info('application started', { appPid: journal.appPid });
    }
  };

  return {
    state,
    welcome(welcome) {
      const last = home;
      // Whoever still reads from it would lose its pages.
      if (last !== undefined) {
        const readers = Promise.allSettled([drains.settled(), collecting.settled(), underWay?.done]);
        void readers.then(() => last.close());
      }
      const { store: settings } = welcome;
      if (settings === undefined) return;
      const store = createS3Store(settings);
      home = { welcome, store: links.over(store), close: () => store.close() };
    },
    order(order) {
      const admission = admit(order, journal, config.restoreFor);
      switch (admission.verdict) {
        case 'repeat':
          deps.report(state());
          return;
        case 'refuse':
          log.warn('order refused', {
            code: 'ORDER_STALE',
            order: OrderKind[order.kind],
            migration: order.migrationUid,
            why: admission.why,
          });
          deps.report(state());
          return;
        case 'run': {
          underWay?.abort.abort(new PodferryError('CANCELLED', 'the operator rolls the move back'));
          const abort = new AbortController();
          const done = runOrder(order, abort, underWay?.done).finally(() => {
            if (underWay?.abort === abort) underWay = undefined;
          });
          underWay = { abort, done };
          // runOrder reports its own failures; what is left is a fault of the journal's volume
          done.catch((error: unknown) => log.error('an order could not be recorded', errorFields(error)));
          return;
        }
        default:
          assertNever(admission);
      }
    },
    async watch(signal) {
      while (!signal.aborted) {
        try {
          await look();
          if (underWay === undefined) collecting.look();
        } catch (error) {
          log.warn('cannot look after the container; trying again', errorFields(error));
        }
        await delay(placeholder === undefined ? lookForFirstEveryMs : lookEveryMs, undefined, { signal }).catch(
          (error: unknown) => {
            if (!signal.aborted) throw error;
          },
        );
      }
      await underWay?.done;
      await drains.settled();
      await collecting.breakOff();
    },
  };
}
