import type { Journal } from '../../../../agent/journal.ts';
import type { AgentState, Order } from '../../../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import { migrationUid, sourceUid, targetUid } from '../../../fakes/operator-objects.ts';
import { idOf, intern } from './intern.ts';

/** The state of the model: immutable, made of parts that exist once each (intern.ts), so that a state is known by its parts' numbers. */
export interface State {
  /** Migrations in the API server: the first move, and the one that the user tries after it has failed. */
  readonly moves: readonly Stored[];
  readonly source: PodSide;
  readonly target: PodSide;
  readonly sourceAgent: AgentSide;
  readonly targetAgent: AgentSide;
  /** The leader of the beginning, and the one that follows it. */
  readonly operators: readonly [Operator, Operator];
  readonly time: Time;
  /** Numbers of the moves whose checkpoint is complete in the store. */
  readonly complete: readonly number[];
  /** Messages that left their stream: each may still arrive, whenever it likes. */
  readonly strays: readonly Stray[];
  readonly faultsLeft: number;
}

export type Side = 'source' | 'target';
export type Who = 0 | 1;

export interface Stored {
  readonly move: number;
  readonly status: MigrationStatus;
  readonly hasFinalizer: boolean;
  readonly isDeleting: boolean;
}

export interface PodSide {
  readonly phase: 'none' | 'pending' | 'up';
  /** Counts the target pods there have been. */
  readonly number: number;
  /** The move it was made for; of the source: -1. */
  readonly move: number;
  readonly isReady: boolean;
  readonly isLabelled: boolean;
  readonly isOwned: boolean;
  readonly node: 'ok' | 'dead' | 'known dead';
  /** Grace period of its deletion in seconds; -1: not being deleted. */
  readonly grace: number;
  /** Its deletion should long be over. */
  readonly isOverdue: boolean;
}

export interface AgentSide {
  readonly isAlive: boolean;
  readonly journal: Journal;
  /** The truth about the application, which the journal may not know yet. */
  readonly process: 'none' | 'running' | 'stopped';
  /** A restore has been done here; what became of it is another matter. */
  readonly wasRestored: boolean;
  /** Waits for the end of the order that it aborts. */
  readonly next: Order | null;
  /** The operator at the other end of its stream; -1: none. */
  readonly stream: -1 | Who;
  /** On their way, oldest first. */
  readonly orders: readonly Order[];
  readonly reports: readonly AgentState[];
}

/** What an operator knows of an agent; null: nothing was ever heard. */
export interface View {
  readonly isConnected: boolean;
  readonly state: AgentState | null;
  /** Not connected for longer than any grace. */
  readonly isLongLost: boolean;
  /** The last order sent on this stream. */
  readonly sent: Order | null;
}

export interface Operator {
  readonly isAlive: boolean;
  /** Agents have had the time to connect. */
  readonly isSettled: boolean;
  /** Of one that does not lead any more; -1: of one that does, as many as it likes. */
  readonly looksLeft: number;
  /** Its cache of the Migrations, by move. */
  readonly cache: readonly (Stored | null)[];
  /** Its cache of the pods, while it lags behind. */
  readonly oldPods: { readonly source: PodSide; readonly target: PodSide } | null;
  readonly sourceView: View | null;
  readonly targetView: View | null;
  /** A status on its way to the server, and what it was made from. */
  readonly write: { readonly from: Stored; readonly to: Stored } | null;
}

/** Which deadlines of the move under way have passed. */
export interface Time {
  readonly isLate: boolean;
  readonly isWarmLate: boolean;
  /** How many of the waits of the cutover are over: none, removal, readiness, retirement. */
  readonly verifiedAge: number;
}

export type Stray =
  | { readonly kind: 'order'; readonly side: Side; readonly order: Order }
  | { readonly kind: 'report'; readonly side: Side; readonly state: AgentState };

export function uidOfMove(move: number): string {
  return move === 0 ? migrationUid : `${migrationUid.slice(0, -1)}${move}`;
}

export function moveOfUid(uid: string): number {
  return uid === migrationUid ? 0 : Number(uid.slice(-1));
}

export function podUid(side: Side, pod: PodSide): string {
  return side === 'source' ? sourceUid : `${targetUid}-${pod.number}`;
}

export const noPod: PodSide = {
  phase: 'none',
  number: 0,
  move: -1,
  isReady: false,
  isLabelled: false,
  isOwned: false,
  node: 'ok',
  grace: -1,
  isOverdue: false,
};

export const freshTime: Time = { isLate: false, isWarmLate: false, verifiedAge: 0 };

export const noOperator: Operator = {
  isAlive: false,
  isSettled: false,
  looksLeft: -1,
  cache: [],
  oldPods: null,
  sourceView: null,
  targetView: null,
  write: null,
};

export function freshAgent(role: Journal['role']): AgentSide {
  const isServing = role === 'serving';
  return {
    isAlive: true,
    journal: { role, stopped: [], draining: false, ...(isServing ? { appPid } : {}) },
    process: isServing ? 'running' : 'none',
    wasRestored: false,
    next: null,
    stream: -1,
    orders: [],
    reports: [],
  };
}

export const appPid = 10_000;

export const noAgent: AgentSide = { ...freshAgent('waiting'), isAlive: false };

/** A Migration that was just made for a pod that runs, before a leader that has seen neither. */
export function firstState(faults: number): State {
  return canonical({
    moves: [{ move: 0, status: { conditions: [] }, hasFinalizer: false, isDeleting: false }],
    source: { ...noPod, phase: 'up', isReady: true, isOwned: true, isLabelled: true },
    target: noPod,
    sourceAgent: freshAgent('serving'),
    targetAgent: noAgent,
    operators: [{ ...noOperator, isAlive: true, isSettled: true }, noOperator],
    time: freshTime,
    complete: [],
    strays: [],
    faultsLeft: faults,
  });
}

/** The same state with each part replaced by its only copy. */
export function canonical(s: State): State {
  return {
    moves: s.moves.map((each) => intern(each)),
    source: intern(s.source),
    target: intern(s.target),
    sourceAgent: intern(s.sourceAgent),
    targetAgent: intern(s.targetAgent),
    operators: [intern(s.operators[0]), intern(s.operators[1])],
    time: intern(s.time),
    complete: intern(s.complete),
    strays: intern(s.strays),
    faultsLeft: s.faultsLeft,
  };
}

/** Short, and the same for the same state only. Of canonical states. */
export function keyOfState(s: State): string {
  const parts = [s.source, s.target, s.sourceAgent, s.targetAgent, ...s.operators, s.time, s.complete, s.strays];
  let key = String.fromCharCode(s.faultsLeft, s.moves.length);
  for (const part of [...s.moves, ...parts]) {
    const id = idOf(part) ?? 0;
    key += String.fromCharCode(id & 0x7fff, id >> 15);
  }
  return key;
}
