import type { PodferryError } from '../proto/errors.ts';
import { OrderKind, OrderStatus, type AgentState, type Transfer } from '../proto/gen/agent/v1/agent.ts';
import type { Journal, JournalFile } from './journal.ts';
import type { Finding } from './preflight/checks.ts';
import { phaseOf } from './roles.ts';

export interface LedgerDeps {
  readonly journal: JournalFile;
  readonly first: Journal;
  /** Of the links. */
  directPort(): number;
  directBytes(): number;
  report(state: AgentState): void;
}

/** What is told besides the journal. */
export interface Told {
  readonly transfer: Transfer | undefined;
  readonly findings: readonly Finding[];
  /** Ids of the checkpoints in the store; undefined before it was looked at. */
  readonly stored?: readonly string[] | undefined;
  readonly directPort: number;
}

/** What the agent knows of its pod: the journal, and what is only told and not needed after a restart. */
export interface Ledger {
  journal(): Journal;
  state(): AgentState;
  /** Writes the journal, then reports. */
  change(next: Partial<Journal>): Promise<void>;
  /** How the order in the journal ended, and what it changed; nothing when there is none. */
  endOrder(status: OrderStatus, failure?: PodferryError, next?: Partial<Journal>): Promise<void>;
  /** Told with the next change. */
  setTransfer(transfer: Transfer | undefined): void;
  setPreflight(findings: readonly Finding[]): void;
  /** The checkpoints in the store; reported at once. */
  setStored(ids: readonly string[]): void;
}

/** What the operator is told. Pure. */
export function stateOf(journal: Journal, told: Told): AgentState {
  return {
    phase: phaseOf(journal),
    migrationUid: journal.order?.migrationUid ?? '',
    attempt: journal.order?.attempt ?? 0,
    order: journal.order?.kind ?? OrderKind.ORDER_KIND_UNSPECIFIED,
    status: journal.order?.status ?? OrderStatus.ORDER_STATUS_UNSPECIFIED,
    failure: journal.order?.failure,
    checkpoint: journal.checkpoint,
    transfer: told.transfer,
    appPid: journal.appPid ?? 0,
    preflight: told.findings.map(({ code }) => code),
    findings: [...told.findings],
    directPort: told.directPort,
    draining: journal.draining,
    ...(told.stored === undefined ? {} : { stored: { ids: [...told.stored] } }),
  };
}

/** Keeps the journal; every change of it is on its volume before anybody is told. */
export function createLedger(deps: LedgerDeps): Ledger {
  let journal = deps.first;
  let transfer: Transfer | undefined;
  let findings: readonly Finding[] = [];
  let stored: readonly string[] | undefined;

  const state = (): AgentState => stateOf(journal, { transfer, findings, stored, directPort: deps.directPort() });

  const change = async (next: Partial<Journal>): Promise<void> => {
    journal = { ...journal, ...next };
    const added = next.checkpoint?.id;
    if (stored !== undefined && added !== undefined && !stored.includes(added)) stored = [...stored, added];
    await deps.journal.write(journal);
    deps.report(state());
  };

  return {
    journal: () => journal,
    state,
    change,
    async endOrder(status, failure, next = {}) {
      const { order } = journal;
      if (order === undefined) return;
      const why = failure === undefined ? {} : { failure: { code: failure.code, message: failure.message } };
      await change({ ...next, order: { ...order, status, ...why } });
    },
    setTransfer(moved) {
      transfer = moved === undefined ? undefined : { ...moved, directBytes: BigInt(deps.directBytes()) };
    },
    setPreflight(found) {
      findings = found;
    },
    setStored(ids) {
      stored = ids;
      deps.report(state());
    },
  };
}
