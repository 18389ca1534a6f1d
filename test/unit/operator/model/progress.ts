import { OrderKind } from '../../../../proto/gen/agent/v1/agent.ts';
import { isCommitted, isTrue } from '../../../../operator/migration/conditions.ts';
import * as agents from './agent-side.ts';
import {
  agentOf,
  cached,
  connected,
  heard,
  isOver,
  look,
  nameOf,
  podGone,
  viewOf,
  withAgent,
  withOperator,
  withView,
  written,
  type Planning,
} from './operator-side.ts';
import { moveOf } from './planning.ts';
import { freshAgent, type Side, type State, type Who } from './state.ts';

/** One thing that can happen, and what comes of it. */
export interface Step {
  /** Which of the things that keep the world going it is: see liveness.ts. */
  readonly kind: string;
  readonly words: string;
  readonly state: State;
  /** A promise that the very step broke. */
  readonly breach?: string;
}

export interface Rules {
  readonly planning: Planning;
  readonly admit: agents.Admit;
  /** A status is taken only when it was made from the stored version. */
  readonly isLocked: boolean;
}

export const sides = ['source', 'target'] as const;
export const whos = [0, 1] as const;
export const names = ['operator A', 'operator B'] as const;

/** Everything that happens by itself, sooner or later, when nothing goes wrong. */
export function* progress(s: State, rules: Rules): Generator<Step> {
  for (const who of whos) if (s.operators[who].isAlive) yield* operatorSteps(s, who, rules);
  for (const side of sides) {
    if (agentOf(s, side).isAlive) yield* agentSteps(s, side, rules);
    yield* podSteps(s, side);
  }
  yield* replicaSetSteps(s);
  yield* timeSteps(s);
}

export function* writeSteps(s: State, who: Who, { isLocked }: Pick<Rules, 'isLocked'>): Generator<Step> {
  const { write } = s.operators[who];
  if (write === null) return;
  const isTaken = !isLocked || s.moves[write.from.move] === write.from;
  const words = isTaken ? 'stored' : 'conflict';
  yield { kind: `${names[who]}'s status arrives`, words, state: written(s, who, isLocked) };
}

export function* takeSteps(s: State, side: Side, { admit }: Pick<Rules, 'admit'>): Generator<Step> {
  const agent = agentOf(s, side);
  const [first, ...rest] = agent.orders;
  if (first === undefined) return;
  const taken = agents.ordered({ ...agent, orders: rest }, first, s[side], side, admit);
  yield { kind: `the ${side}'s agent takes an order`, words: nameOf(first), state: withAgent(s, side, taken) };
}

function* operatorSteps(s: State, who: Who, { planning, isLocked }: Rules): Generator<Step> {
  const operator = s.operators[who];
  const name = names[who];
  for (const stored of s.moves) {
    const { move } = stored;
    if (operator.cache[move] !== stored && operator.looksLeft < 0) {
      yield { kind: `${name} hears of the Migration`, words: '', state: cached(s, who, stored) };
    }
    const planned = operator.write === null && operator.looksLeft !== 0 ? planning(s, operator, move) : undefined;
    if (planned === undefined) continue;
    const { state: next, words, breach } = look(s, who, move, planned);
    const { looksLeft } = operator;
    const state = next === s || looksLeft < 0 ? next : withOperator(next, who, { looksLeft: looksLeft - 1 });
    if (state !== s)
      yield { kind: `${name} looks`, words: words.join(', '), state, ...(breach === undefined ? {} : { breach }) };
  }
  yield* writeSteps(s, who, { isLocked });
  if (operator.looksLeft >= 0) return;
  if (operator.oldPods !== null) {
    yield { kind: `${name}'s pods catch up`, words: '', state: withOperator(s, who, { oldPods: null }) };
  }
  for (const side of sides) {
    const view = viewOf(operator, side);
    const agent = agentOf(s, side);
    const [first, ...rest] = agent.reports;
    if (view !== null && agent.stream === who && first !== undefined) {
      const state = heard(withAgent(s, side, { ...agent, reports: rest }), who, side, first);
      yield { kind: `${name} hears the ${side}`, words: wordsOf(first), state };
    }
    if (view?.isConnected === true && agent.stream !== who) {
      const lost = { ...view, isConnected: false, sent: null };
      yield { kind: `${name} notices that the ${side}'s stream ended`, words: '', state: withView(s, who, side, lost) };
    }
  }
  const { targetView: view } = operator;
  if (view?.isConnected === false && !view.isLongLost) {
    yield {
      kind: `${name} has waited for the target's agent`,
      words: '',
      state: withView(s, who, 'target', { ...view, isLongLost: true }),
    };
  }
  if (!operator.isSettled && view === null && s.target.phase !== 'none') {
    yield { kind: `${name} has waited for agents`, words: '', state: withOperator(s, who, { isSettled: true }) };
  }
}

function wordsOf({
  order,
  status,
  phase,
}: {
  readonly order: OrderKind;
  readonly status: number;
  readonly phase: number;
}): string {
  const phases = ['', 'waiting', 'running', 'frozen', 'restored', 'moved'];
  const ends = ['', 'working', 'done', 'failed'];
  return `${OrderKind[order].replace('ORDER_KIND_', '')} ${ends[status]}, ${phases[phase]}`;
}

function* agentSteps(s: State, side: Side, { admit }: Rules): Generator<Step> {
  const agent = agentOf(s, side);
  yield* takeSteps(s, side, { admit });
  if (agent.stream === -1) {
    for (const who of whos) {
      if (s.operators[who].isAlive && s.operators[who].looksLeft < 0)
        yield { kind: `the ${side}'s agent connects`, words: names[who], state: connected(s, who, side) };
    }
  }
  const { order } = agent.journal;
  if (order !== undefined && agents.isWorking(agent)) {
    const kind = `the ${side}'s order ends`;
    const words = OrderKind[order.kind].replace('ORDER_KIND_', '');
    if (agents.canBeDone(agent)) yield { kind, words: `${words} done`, state: finished(s, side, 'done') };
    if (agent.next !== null || !agents.canBeDone(agent))
      yield { kind, words: `${words} cannot be done`, state: finished(s, side, 'failed') };
  }
  if (agents.isStartDue(agent))
    yield { kind: `the ${side} starts afresh`, words: '', state: withAgent(s, side, agents.started(agent)) };
  if (agents.isRefillDue(agent))
    yield { kind: `the ${side} is restored in full`, words: '', state: withAgent(s, side, agents.refilled(agent)) };
  else if (agent.journal.draining)
    yield { kind: `the ${side} is drained`, words: '', state: withAgent(s, side, agents.drained(agent)) };
}

/** The order under way ends; a checkpoint that is done is complete in the store. */
export function finished(s: State, side: Side, how: agents.End): State {
  const agent = agentOf(s, side);
  const next = withAgent(s, side, agents.ended(agent, how));
  const { order } = agent.journal;
  if (how !== 'done' || order?.kind !== OrderKind.ORDER_KIND_CHECKPOINT) return next;
  const move = moveOf({ ...order, timeoutMs: 0, checkpoint: undefined, direct: undefined, options: undefined });
  return { ...next, complete: [...new Set([...s.complete, move])].toSorted((a, b) => a - b) };
}

function* podSteps(s: State, side: Side): Generator<Step> {
  const pod = s[side];
  if (pod.phase === 'none') return;
  if (pod.node !== 'ok') {
    if (pod.node === 'dead')
      yield {
        kind: `the ${side}'s node is known to be gone`,
        words: '',
        state: { ...s, [side]: { ...pod, node: 'known dead' } },
      };
    else if (pod.grace < 0)
      yield { kind: `the ${side} is evicted from its node`, words: '', state: { ...s, [side]: { ...pod, grace: 30 } } };
    else {
      if (!pod.isOverdue)
        yield {
          kind: `the ${side}'s grace period is long over`,
          words: '',
          state: { ...s, [side]: { ...pod, isOverdue: true } },
        };
      yield { kind: `the ${side}'s node is removed`, words: '', state: podGone(s, side) };
    }
    return;
  }
  if (pod.grace >= 0) {
    yield { kind: `the ${side}'s kubelet ends it`, words: '', state: podGone(s, side) };
  } else if (pod.phase === 'pending') {
    const up: State = { ...s, [side]: { ...pod, phase: 'up' } };
    yield { kind: `the ${side}'s kubelet starts it`, words: '', state: withAgent(up, side, freshAgent('waiting')) };
  } else {
    const isServing =
      agentOf(s, side).process === 'running' && isCommitted(s.moves.at(-1)?.status ?? {}) === (side === 'target');
    // a source that was only stopped stays as it is: its gate turns with the commit
    const isMovedAway = side === 'source' && isCommitted(s.moves.at(-1)?.status ?? {});
    if (isServing && !pod.isReady)
      yield { kind: `the ${side} gets ready`, words: '', state: { ...s, [side]: { ...pod, isReady: true } } };
    if (isMovedAway && pod.isReady)
      yield { kind: `the ${side} gets unready`, words: '', state: { ...s, [side]: { ...pod, isReady: false } } };
  }
}

function* replicaSetSteps(s: State): Generator<Step> {
  const { source, target } = s;
  if (target.phase === 'none' || !target.isLabelled || target.grace >= 0) return;
  if (!target.isOwned) {
    yield {
      kind: 'the ReplicaSet adopts the target',
      words: '',
      state: { ...s, target: { ...target, isOwned: true } },
    };
  } else if (source.phase !== 'none' && source.grace < 0) {
    // one too many: the one that is not ready goes, or the one marked by us
    const side = source.isReady && !target.isReady ? 'target' : 'source';
    yield { kind: `the ReplicaSet deletes the ${side}`, words: '', state: { ...s, [side]: { ...s[side], grace: 30 } } };
  }
}

function* timeSteps(s: State): Generator<Step> {
  const stored = s.moves.at(-1);
  if (stored === undefined || isOver(stored)) return;
  const { status } = stored;
  const { time } = s;
  const isBeforeCommit = !isCommitted(status) && status.failure === undefined && status.startedAt !== undefined;
  if (isBeforeCommit && !time.isLate)
    yield { kind: 'the deadline passes', words: '', state: { ...s, time: { ...time, isLate: true } } };
  const isWarming = isTrue(status, 'TargetPrepared') && !isTrue(status, 'PreCopied');
  if (isWarming && isBeforeCommit && !time.isWarmLate) {
    yield { kind: 'the time to warm is over', words: '', state: { ...s, time: { ...time, isWarmLate: true } } };
  }
  if (isTrue(status, 'Verified') && !isTrue(status, 'CutOver') && time.verifiedAge < 3) {
    yield {
      kind: 'the cutover takes its time',
      words: '',
      state: { ...s, time: { ...time, verifiedAge: time.verifiedAge + 1 } },
    };
  }
}
