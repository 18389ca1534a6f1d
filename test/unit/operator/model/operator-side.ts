import { OrderKind, OrderStatus, type AgentState, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { isCommitted, isFinished } from '../../../../operator/migration/conditions.ts';
import { cutOff, isWorking, reported } from './agent-side.ts';
import { moveOf, type Effect, type Planned } from './planning.ts';
import {
  noAgent,
  noPod,
  podUid,
  type AgentSide,
  type Operator,
  type Side,
  type State,
  type Stored,
  type View,
  type Who,
} from './state.ts';

export type Planning = (s: State, operator: Operator, move: number) => Planned | undefined;

const sides = ['source', 'target'] as const;

export function withOperator(s: State, who: Who, change: Partial<Operator>): State {
  const next = { ...s.operators[who], ...change };
  return { ...s, operators: who === 0 ? [next, s.operators[1]] : [s.operators[0], next] };
}

export function withAgent(s: State, side: Side, agent: AgentSide): State {
  return side === 'source' ? { ...s, sourceAgent: agent } : { ...s, targetAgent: agent };
}

export function agentOf(s: State, side: Side): AgentSide {
  return side === 'source' ? s.sourceAgent : s.targetAgent;
}

export function viewOf(operator: Operator, side: Side): View | null {
  return side === 'source' ? operator.sourceView : operator.targetView;
}

export function withView(s: State, who: Who, side: Side, view: View | null): State {
  return withOperator(s, who, side === 'source' ? { sourceView: view } : { targetView: view });
}

/** What carrying out a plan broke; told by the invariants. */
export interface Carried {
  readonly state: State;
  readonly breach?: string;
  readonly words: readonly string[];
}

/**
 * One look of an operator at one Migration: it plans from its caches, acts in order, and sends the status off. As in
 * reconcile.ts a refused action ends the look.
 */
export function look(s: State, who: Who, move: number, planned: Planned): Carried {
  const from = s.operators[who].cache[move];
  if (from === undefined || from === null) return { state: s, words: [] };
  let state = s;
  let breach: string | undefined;
  const words: string[] = [];
  for (const effect of planned.effects) {
    const next = carryOut(state, who, from, effect);
    if (next === undefined)
      return { state, words: [...words, `${effect.kind}: conflict`], ...(breach === undefined ? {} : { breach }) };
    breach ??= next.breach;
    state = next.state;
    words.push(...next.words);
  }
  const to: Stored = { ...from, status: planned.status };
  if (planned.status !== from.status && state.operators[who].cache[move] === from) {
    words.push('writes');
    if (
      isCommitted(to.status) &&
      !isCommitted(from.status) &&
      !state.targetAgent.wasRestored &&
      state.targetAgent.isAlive
    ) {
      breach ??= 'the commit is decided before the target is restored';
    }
    state = withOperator(state, who, { write: { from, to } });
  }
  return { state, words, ...(breach === undefined ? {} : { breach }) };
}

/** @returns undefined when the server refuses it as made from an old version */
function carryOut(s: State, who: Who, from: Stored, effect: Effect): Carried | undefined {
  const { move } = from;
  switch (effect.kind) {
    case 'AddFinalizer':
    case 'RemoveFinalizer': {
      if (s.moves[move] !== from) return undefined;
      const to = { ...from, hasFinalizer: effect.kind === 'AddFinalizer' };
      return { state: cached(withMove(s, to), who, to), words: [effect.kind] };
    }
    case 'DeleteMigration':
      return { state: s, words: [] };
    case 'CreateTarget': {
      if (s.target.phase !== 'none') return { state: s, words: [] };
      const target = { ...noPod, phase: 'pending' as const, number: s.target.number + 1, move };
      const created = { ...s, target, targetAgent: noAgent };
      return { state: withOperator(created, who, { oldPods: null }), words: ['creates the target'] };
    }
    case 'DeletePod':
      return deletePod(s, effect.uid, effect.grace);
    case 'LabelTarget':
      if (podUid('target', s.target) !== effect.uid || s.target.phase === 'none' || s.target.isLabelled)
        return { state: s, words: [] };
      return { state: { ...s, target: { ...s.target, isLabelled: true } }, words: ['labels the target'] };
    case 'SendOrder':
      return sendOrder(s, who, effect.uid, effect.order);
    default:
      throw new Error('unknown effect');
  }
}

function deletePod(s: State, uid: string, grace: number): Carried {
  const side = sides.find((each) => podUid(each, s[each]) === uid);
  const pod = side === undefined ? undefined : s[side];
  if (side === undefined || pod === undefined || pod.phase === 'none') return { state: s, words: [] };
  const words = [`deletes the ${side} in ${grace} s`];
  const breach =
    side === 'source' && mayNotKillSource(s)
      ? { breach: 'the source is deleted before the target is verified or lost' }
      : {};
  if (grace === 0) return { state: podGone(s, side), words, ...breach };
  // as the server does it: a grace period can only become shorter
  const shorter = pod.grace < 0 ? grace : Math.min(grace, pod.grace);
  return { state: { ...s, [side]: { ...pod, grace: shorter } }, words: shorter === pod.grace ? [] : words, ...breach };
}

/** The pod's object is gone, and its containers with it. */
export function podGone(s: State, side: Side): State {
  const next: State = { ...s, [side]: { ...noPod, number: s[side].number } };
  const strays = next.strays.filter((each) => each.side !== side);
  const forgot = withView(withView({ ...next, strays }, 0, side, null), 1, side, null);
  return withAgent(forgot, side, noAgent);
}

function sendOrder(s: State, who: Who, uid: string, order: Order): Carried {
  const side = sides.find((each) => podUid(each, s[each]) === uid);
  const view = side === undefined ? null : viewOf(s.operators[who], side);
  if (side === undefined || view?.isConnected !== true) return { state: s, words: [] };
  const agent = agentOf(s, side);
  const isOurs = agent.stream === who;
  // the same order is repeated only after seconds: by then everything on the way has arrived
  const isQuiet = !isOurs || (agent.orders.length === 0 && agent.reports.length === 0 && !isWorking(agent));
  if (view.sent === order && !isQuiet) return { state: s, words: [] };
  const sent = withView(s, who, side, { ...view, sent: order });
  const isKilling = order.kind === OrderKind.ORDER_KIND_RETIRE && mayNotKillSource(s);
  return {
    state: isOurs ? withAgent(sent, side, { ...agent, orders: [...agent.orders, order] }) : sent,
    words: [`orders ${nameOf(order)} of the ${side}`],
    ...(isKilling ? { breach: 'the source is ended before the target is verified or lost' } : {}),
  };
}

export function nameOf(order: Order): string {
  return `${OrderKind[order.kind].replace('ORDER_KIND_', '')}${moveOf(order) === 0 ? '' : ' (2nd move)'}`;
}

function mayNotKillSource(s: State): boolean {
  const stored = s.moves.at(-1);
  const isTrue = (type: string): boolean =>
    stored?.status.conditions?.some((each) => each.type === type && each.status === 'True') ?? false;
  if (!isTrue('Committed')) return true;
  // Ready once is verified, whatever became of it
  return !isTrue('Verified') && !s.target.isReady && !isTargetLost(s);
}

/** Its process cannot be had there any more. */
function isTargetLost({ target, targetAgent: { journal, process } }: State): boolean {
  const isPodLost = target.phase === 'none' || target.grace >= 0 || target.node !== 'ok';
  const isUnrestorable =
    process === 'none' &&
    journal.order?.kind === OrderKind.ORDER_KIND_RESTORE &&
    journal.order.status === OrderStatus.ORDER_STATUS_FAILED;
  return isPodLost || isUnrestorable;
}

export function withMove(s: State, stored: Stored): State {
  return { ...s, moves: s.moves.map((each) => (each.move === stored.move ? stored : each)) };
}

/** The operator's cache has this version. */
export function cached(s: State, who: Who, stored: Stored): State {
  const { cache } = s.operators[who];
  const next = s.moves.map(({ move }) => (move === stored.move ? stored : (cache[move] ?? null)));
  return withOperator(s, who, { cache: next });
}

/** The status arrives at the server, which takes it only when it was made from what is stored. */
export function written(s: State, who: Who, isLocked: boolean): State {
  const { write } = s.operators[who];
  if (write === null) return s;
  const free = withOperator(s, who, { write: null });
  const stored = s.moves[write.from.move];
  if (stored === undefined || (isLocked && stored !== write.from)) return free;
  const to = { ...stored, status: write.to.status };
  return cached(withMove(free, to), who, to);
}

/** An agent's stream is accepted; it says its state at once. */
export function connected(s: State, who: Who, side: Side): State {
  const view: View = { isConnected: true, state: null, isLongLost: false, sent: null };
  return withAgent(
    withView(s, who, side, view),
    side,
    reported({ ...agentOf(s, side), stream: who, orders: [], reports: [] }),
  );
}

export function heard(s: State, who: Who, side: Side, state: AgentState): State {
  const view = viewOf(s.operators[who], side);
  return view === null ? s : withView(s, who, side, { ...view, state });
}

/** Nothing of it will ever happen again. */
export function isOver(stored: Stored): boolean {
  return isFinished(stored.status) && !stored.hasFinalizer;
}

/** No agent is connected any more. */
export function withoutStreams(s: State): State {
  return { ...s, sourceAgent: cutOff(s.sourceAgent), targetAgent: cutOff(s.targetAgent) };
}
