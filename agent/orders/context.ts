import type { DirectLinks } from '../direct/links.ts';
import type { KitHolder } from '../checkpoint/restore-kit.ts';
import type { Log } from '../../proto/logging.ts';
import type { Order, Transfer, Welcome } from '../../proto/gen/agent/v1/agent.ts';
import type { Config } from '../config.ts';
import type { Journal } from '../journal.ts';
import type { Placeholder } from '../launch/placeholder.ts';
import type { HostFacts } from '../store/manifest.ts';
import type { MemoryHolder } from '../memory/holder.ts';
import type { Finding } from '../preflight/checks.ts';
import type { Store } from '../store/store.ts';

/** What an order works with. Everything in it is true when the order starts. */
export interface OrderContext {
  readonly config: Config;
  readonly log: Log;
  /** The agent's own root as seen from the application's namespaces: `/proc/<agent>/root`. */
  readonly agentRoot: string;
  readonly facts: HostFacts;
  readonly journal: Journal;
  readonly placeholder: Placeholder;
  /** Where checkpoints live; undefined until the operator has welcomed the agent. */
  readonly home: { readonly welcome: Welcome; readonly store: Store } | undefined;
  readonly links: DirectLinks;
  /** What PRECOPY leaves to CHECKPOINT. */
  readonly memory: MemoryHolder;
  /** What WARM leaves to RESTORE. */
  readonly kits: KitHolder;
  /** Aborted by RESUME and at the order's deadline. */
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
}

/** The rest of a lazy restore. */
export interface Drain {
  /**
   * Resolves when every page is in, with the whole transfer. Rejects when pages are missing: by then nothing of the tree is alive, and it must
   * be restored again.
   */
  readonly done: Promise<Transfer>;
  /** To be called once, when the order's end is reported. Until it resolves nothing may be continued; rejects as `done` does. */
  readonly prepare: () => Promise<void>;
  /** Begins with the pages that nobody waits for; once the tree runs, or if nobody continues it. */
  readonly fill: () => void;
}

/** What an order changed: the agent writes it to its journal and reports it. */
export interface OrderResult {
  readonly journal?: Partial<Journal>;
  readonly transfer?: Transfer;
  readonly preflight?: readonly Finding[];
  /** Pages still arrive after the order is done. */
  readonly drain?: Drain;
}

export type RunOrder = (order: Order, context: OrderContext) => Promise<OrderResult>;
