import type { Log } from '../../proto/logging.ts';
import type { Order, Transfer, Welcome } from '../../proto/gen/agent/v1/agent.ts';
import type { Config } from '../config.ts';
import type { Journal } from '../journal.ts';
import type { Placeholder } from '../launch/placeholder.ts';
import type { HostFacts } from '../store/manifest.ts';
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
  /** Aborted by RESUME and at the order's deadline. */
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
}

/** What an order changed: the agent writes it to its journal and reports it. */
export interface OrderResult {
  readonly journal?: Partial<Journal>;
  readonly transfer?: Transfer;
  readonly preflight?: readonly string[];
}

export type RunOrder = (order: Order, context: OrderContext) => Promise<OrderResult>;
