import { setTimeout as delay } from 'node:timers/promises';
import { assertNever, PodferryError, toPodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import {
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentState,
  type Order,
  type Transfer,
  type Welcome,
} from '../proto/gen/agent/v1/agent.ts';
import type { HostFacts } from './store/manifest.ts';
import type { Config } from './config.ts';
import type { Journal, JournalFile, Role } from './journal.ts';
import { continueTree, applicationTree } from './launch/process-tree.ts';
import { findPlaceholder, type Placeholder } from './launch/placeholder.ts';
import { admit } from './orders/admit.ts';
import { checkpoint } from './orders/checkpoint.ts';
import type { OrderContext, RunOrder } from './orders/context.ts';
import { restore } from './orders/restore.ts';
import { continueRestored, preflight, resume, retire } from './orders/short-orders.ts';
import { prepareTarget, startApplication } from './application.ts';
import { createS3Store } from './store/s3.ts';

const runners: Readonly<Partial<Record<OrderKind, RunOrder>>> = {
  [OrderKind.ORDER_KIND_PREFLIGHT]: preflight,
  [OrderKind.ORDER_KIND_CHECKPOINT]: checkpoint,
  [OrderKind.ORDER_KIND_RESUME]: resume,
  [OrderKind.ORDER_KIND_RETIRE]: retire,
  [OrderKind.ORDER_KIND_RESTORE]: restore,
  [OrderKind.ORDER_KIND_CONTINUE]: continueRestored,
};

const lookEveryMs = 250;
const lookForFirstEveryMs = 20;

export interface FerryDeps {
  readonly config: Config;
  readonly journal: JournalFile;
  readonly facts: HostFacts;
  readonly agentRoot: string;
  readonly log: Log;
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

function phaseOf({ role, appPid }: Journal): AppPhase {
  switch (role) {
    case 'serving':
      return appPid === undefined ? AppPhase.APP_PHASE_WAITING : AppPhase.APP_PHASE_RUNNING;
    case 'waiting':
      return AppPhase.APP_PHASE_WAITING;
    case 'frozen':
      return AppPhase.APP_PHASE_FROZEN;
    case 'restored':
      return AppPhase.APP_PHASE_RESTORED;
    case 'moved':
      return AppPhase.APP_PHASE_MOVED;
    default:
      return assertNever(role);
  }
}

/** What a restarted container means in each role: its application is gone with it. */
const afterRestart: Readonly<Record<Role, Role>> = {
  serving: 'serving',
  waiting: 'waiting',
  frozen: 'frozen', // RESUME then starts it afresh, as any restarted container; RETIRE has nothing left to kill
  restored: 'waiting',
  moved: 'moved',
};

/**
 * Reads the journal, puts right what a restart of the agent interrupted, and returns the ferry.
 * An interrupted checkpoint is rolled back here: nothing can have been committed on it.
 */
export async function createFerry(deps: FerryDeps): Promise<Ferry> {
  const { config, log } = deps;
  let journal: Journal = (await deps.journal.read()) ?? {
    role: config.restoreFor === undefined ? 'serving' : 'waiting',
    stopped: [],
  };
  let placeholder: Placeholder | undefined;
  let home: (OrderContext['home'] & { close(): void }) | undefined;
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

  if (journal.order?.status === OrderStatus.ORDER_STATUS_WORKING) {
    const interrupted = new PodferryError('AGENT_LOST', 'the agent was restarted in the middle of the order');
    if (journal.order.kind === OrderKind.ORDER_KIND_CHECKPOINT && journal.appPid !== undefined) {
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
    transfer = undefined;
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
      const result = await runner(order, {
        config,
        log: orderLog,
        agentRoot: deps.agentRoot,
        facts: deps.facts,
        journal,
        placeholder,
        home,
        signal: abort.signal,
        deadlineMs: order.timeoutMs,
      });
      transfer = result.transfer;
      if (result.preflight !== undefined) reasons = result.preflight;
      await endOrder(OrderStatus.ORDER_STATUS_DONE, undefined, result.journal);
      orderLog.info('order done', { tookMs: Math.round(performance.now() - started) });
    } catch (thrown) {
      const error = toPodferryError(thrown, `carry out ${OrderKind[kind]}`);
      orderLog.error('order failed', errorFields(error));
      await endOrder(OrderStatus.ORDER_STATUS_FAILED, error, isCheckpoint ? { role: 'serving' } : {});
    } finally {
      clearTimeout(timer);
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
      await change({ role, placeholder: found, appPid: undefined, stopped: [] });
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
      home?.close();
      const { store: settings } = welcome;
      if (settings === undefined) return;
      const store = createS3Store(settings);
      home = { welcome, store, close: () => store.close() };
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
    },
  };
}
