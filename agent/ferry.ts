import { setTimeout as delay } from 'node:timers/promises';
import { assertNever, PodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';
import { OrderKind, OrderStatus, type AgentState, type Order, type Welcome } from '../proto/gen/agent/v1/agent.ts';
import { putRight } from './after-restart.ts';
import { carryOut } from './carry-out.ts';
import { KitHolder } from './checkpoint/restore-kit.ts';
import { createCollecting } from './collecting.ts';
import type { Config } from './config.ts';
import type { DirectLinks } from './direct/links.ts';
import { createLinks } from './direct/tls-links.ts';
import { createDraining } from './draining.ts';
import type { Journal, JournalFile } from './journal.ts';
import { createLedger } from './ledger.ts';
import { createLeaving } from './leaving.ts';
import { lookAfter } from './look-after.ts';
import { findPlaceholder, type Placeholder } from './launch/placeholder.ts';
import { continueTree } from './launch/process-tree.ts';
import { MemoryHolder } from './memory/holder.ts';
import { admit } from './orders/admit.ts';
import type { OrderContext } from './orders/context.ts';
import { restore } from './orders/restore.ts';
import { fullRestore } from './orders/short-orders.ts';
import type { HostFacts } from './store/manifest.ts';
import { openStore } from './store/open-store.ts';

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
  /** Without it: among the processes of the pod. */
  readonly findPlaceholder?: () => Promise<Placeholder | undefined>;
  /** Milliseconds of a clock that never goes back; without it: the process's. */
  readonly now?: () => number;
  report(state: AgentState): void;
}

/** The agent's one piece of state: the pod's application, where it is on its way, and the order that moves it. */
export interface Ferry {
  state(): AgentState;
  welcome(welcome: Welcome): void;
  /** Takes an order; what becomes of it is told by the states reported. */
  order(order: Order): void;
  /** Watches the container, starts the application when it is due; until the signal, or the end of a pod that is to complete. */
  watch(signal: AbortSignal): Promise<void>;
}

/** Reads the journal, puts right what a restart of the agent interrupted, and returns the ferry. */
export async function createFerry(deps: FerryDeps): Promise<Ferry> {
  const { config, log } = deps;
  const first: Journal = (await deps.journal.read()) ?? {
    role: config.restoreFor === undefined ? 'serving' : 'waiting',
    stopped: [],
    draining: false,
  };
  let placeholder: Placeholder | undefined;
  let home: (OrderContext['home'] & { close(): void }) | undefined;
  const links = deps.links ?? createLinks({ log });
  const memory = new MemoryHolder();
  const kits = new KitHolder();
  let looking: Promise<void> | undefined;
  let underWay: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;

  const ledger = createLedger({
    journal: deps.journal,
    first,
    directPort: () => links.port,
    directBytes: () => links.bytes,
    report: (state) => deps.report(state),
  });

  const contextFor = (orderLog: Log, signal: AbortSignal, deadlineMs: number): OrderContext => {
    if (placeholder === undefined)
      throw new PodferryError('PLACEHOLDER_MISSING', `container ${config.original.container} does not run`);
    return {
      config,
      log: orderLog,
      agentRoot: deps.agentRoot,
      facts: deps.facts,
      journal: ledger.journal(),
      placeholder,
      home,
      links,
      memory,
      kits,
      signal,
      deadlineMs,
    };
  };

  const drains = createDraining({
    log,
    journal: () => ledger.journal(),
    change: async (next, moved) => {
      if (moved !== undefined) ledger.setTransfer(moved);
      await ledger.change(next);
    },
    restoreInFull: async () => {
      if (home === undefined) throw new PodferryError('PLACEHOLDER_MISSING', 'the operator is not there yet');
      const order = fullRestore(ledger.journal());
      const signal = AbortSignal.timeout(order.timeoutMs);
      return restore(order, contextFor(log, signal, order.timeoutMs));
    },
    goOn: async () => {
      continueTree(ledger.journal().stopped);
      await ledger.change({ stopped: [] });
    },
    giveUp: async (failure) => {
      if (ledger.journal().role === 'restored')
        await ledger.endOrder(OrderStatus.ORDER_STATUS_FAILED, failure, { role: 'waiting' });
      if (placeholder !== undefined) process.kill(placeholder.pid, 'SIGTERM');
    },
    over: () => links.close(),
  });

  const collecting = createCollecting({
    log,
    now: () => performance.now(),
    journal: () => ledger.journal(),
    home: () => home,
    onStored: (ids) => ledger.setStored(ids),
  });

  await putRight(ledger, drains, config.workDir, log);

  const run = async (order: Order, abort: AbortController, before?: Promise<void>): Promise<void> => {
    await before; // a checkpoint that RESUME has aborted continues the tree itself
    // into a container that is prepared; watch() tells when it could not be
    if (order.kind === OrderKind.ORDER_KIND_RESTORE) await Promise.allSettled([looking]);
    await carryOut(order, abort, { log, ledger, links, drains, collecting, contextFor });
  };

  const leaving = createLeaving(config.leavesWith, deps.now ?? (() => performance.now()));

  const look = async (): Promise<void> => {
    placeholder = await (deps.findPlaceholder ?? findPlaceholder)();
    leaving.see(placeholder);
    if (placeholder !== undefined) await (looking = lookAfter(placeholder, ledger, deps, () => underWay !== undefined));
  };

  return {
    state: () => ledger.state(),
    welcome(welcome) {
      const last = home;
      // Whoever still reads from it would lose its pages.
      if (last !== undefined) {
        const readers = Promise.allSettled([drains.settled(), collecting.settled(), underWay?.done]);
        void readers.then(() => last.close());
      }
      if (welcome.store === undefined) return;
      const store = openStore(welcome.store);
      home = { welcome, store: links.over(store), close: () => store.close() };
    },
    order(order) {
      const admission = admit(order, ledger.journal(), config.restoreFor);
      switch (admission.verdict) {
        case 'repeat':
          deps.report(ledger.state());
          return;
        case 'refuse':
          log.warn('order refused', {
            code: 'ORDER_STALE',
            order: OrderKind[order.kind],
            migration: order.migrationUid,
            why: admission.why,
          });
          deps.report(ledger.state());
          return;
        case 'run': {
          underWay?.abort.abort(new PodferryError('CANCELLED', 'the operator rolls the move back'));
          const abort = new AbortController();
          const done = run(order, abort, underWay?.done).finally(() => {
            if (underWay?.abort === abort) underWay = undefined;
          });
          underWay = { abort, done };
          // An order reports its own failures; what is left is a fault of the journal's volume
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
          if (underWay === undefined && leaving.isDue(ledger.journal())) {
            log.info('the application has ended for good; so does its agent');
            break;
          }
        } catch (error) {
          log.warn('cannot look after the container; trying again', errorFields(error));
        }
        await delay(placeholder === undefined ? lookForFirstEveryMs : lookEveryMs, undefined, { signal }).catch(
          (error: unknown) => {
            if (!signal.aborted) throw error;
          },
        );
      }
      leaving.close();
      await underWay?.done;
      await drains.settled();
      await collecting.breakOff();
    },
  };
}
