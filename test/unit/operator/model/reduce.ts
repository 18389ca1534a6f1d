import { isCommitted, isFinished, isTrue } from '../../../../operator/migration/conditions.ts';
import { agentOf, withOperator, type Planning } from './operator-side.ts';
import { freshTime, noOperator, type AgentSide, type State, type Stored, type Who } from './state.ts';

/** Messages of a move that was rolled back: orders to the source, and its last word. */
export const leftovers = ['CHECKPOINT', 'RESUME', 'report'] as const;
export type Leftover = (typeof leftovers)[number];

/** How far the exploration goes. */
export interface Bounds {
  readonly faults: number;
  /** Only faults with these words, `one|another`; without it all. */
  readonly only?: string;
  /** How often the user tries: each has a Migration of its own. */
  readonly moves: number;
  /** It begins with the second try, while these messages of the first are still on their way; without any: with the first. */
  readonly leftovers: readonly Leftover[];
  /** Reports of one agent on their way; with one more the oldest is taken as heard and not looked at. */
  readonly reports: number;
  /** Another operator may begin to lead while the first goes on. */
  readonly isLedByTwo: boolean;
  /** Looks of a leader after another leads; the last one ends it. */
  readonly oldLooks: number;
  /** More states than this are not looked at: the exploration then says that it is not complete. */
  readonly maxStates: number;
}

/** What decides nothing any more is forgotten, and the queues are kept within their bounds. */
export function settled(now: State, { reports }: Bounds, planning: Planning): State {
  const s = upToDate(isMute(now, planning) ? { ...now, operators: [noOperator, now.operators[1]] } : now);
  const sourceAgent = trimmed(s.sourceAgent, reports);
  const targetAgent = trimmed(s.targetAgent, reports);
  return { ...s, sourceAgent, targetAgent, time: timeOf(s) };
}

/** An old leader that has had its looks, or that could only send orders to nobody and a status that will be refused. */
function isMute(s: State, planning: Planning): boolean {
  const [old] = s.operators;
  if (!old.isAlive || old.looksLeft < 0 || old.write !== null) return false;
  return old.looksLeft === 0 || s.moves.every((stored) => !canAct(s, stored, planning));
}

function canAct(s: State, stored: Stored, planning: Planning): boolean {
  const [old] = s.operators;
  if (old.cache[stored.move] === stored) return true;
  const effects = planning(s, old, stored.move)?.effects ?? [];
  return effects.some(({ kind }) => ['CreateTarget', 'DeletePod', 'LabelTarget'].includes(kind));
}

/** Beside an old leader only that one's cache of the Migrations lags behind: one stale and one true look at a time. */
function upToDate(s: State): State {
  const [a, b] = s.operators;
  return a.isAlive && b.isAlive && b.write === null ? withOperator(s, 1, { cache: s.moves }) : s;
}

function trimmed(agent: AgentSide, max: number): AgentSide {
  return agent.reports.length <= max ? agent : { ...agent, reports: agent.reports.slice(-max) };
}

/** A deadline that passed is forgotten when everybody knows of the decision it could have changed. */
function timeOf({ time, moves, operators }: State): State['time'] {
  const last = moves.at(-1);
  if (last === undefined || time === freshTime) return time;
  const areStale = operators.some(({ isAlive, cache }) => isAlive && cache[last.move] !== last);
  if (areStale) return time;
  const { status } = last;
  const isDecided = isCommitted(status) || status.failure !== undefined;
  return {
    isLate: time.isLate && !isDecided,
    isWarmLate: time.isWarmLate && !isDecided && !isTrue(status, 'PreCopied'),
    verifiedAge: isTrue(status, 'CutOver') || status.failure !== undefined ? 0 : time.verifiedAge,
  };
}

/**
 * The only step that need be taken now, because it commutes with all others that can happen before it and no promise can see it
 * (a persistent set of one): the arrival of a status that decides nothing, when nobody else may write, and an agent's taking of
 * an order, when nothing can happen any more to either on the way.
 */
export function soleStep(s: State): { readonly arrivesAt: Who } | { readonly takes: 'source' | 'target' } | undefined {
  const [a, b] = s.operators;
  const who = a.isAlive ? 0 : 1;
  const { write } = s.operators[who];
  const isAlone = a.isAlive !== b.isAlive;
  if (isAlone && write !== null && !decides(write.from.status, write.to.status)) return { arrivesAt: who };
  if (s.faultsLeft > 0 || s.strays.length > 0) return undefined;
  for (const takes of ['source', 'target'] as const) if (agentOf(s, takes).orders.length > 0) return { takes };
  return undefined;
}

function decides(from: State['moves'][number]['status'], to: typeof from): boolean {
  return isCommitted(from) !== isCommitted(to) || from.failure !== to.failure || isFinished(from) !== isFinished(to);
}

/** The faults that do not commute with the arrival of a status. */
export const writers: readonly string[] = ['the Migration is deleted', 'operator B leads, A goes on'];
