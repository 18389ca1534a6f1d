import { OrderKind } from '../../../../proto/gen/agent/v1/agent.ts';
import { isCommitted } from '../../../../operator/migration/conditions.ts';
import * as agents from './agent-side.ts';
import {
  agentOf,
  heard,
  isOver,
  nameOf,
  viewOf,
  withAgent,
  withMove,
  withOperator,
  withoutStreams,
} from './operator-side.ts';
import type { Bounds } from './reduce.ts';
import { finished, names, sides, whos, type Rules, type Step } from './progress.ts';
import { freshTime, noAgent, noOperator, type Side, type State, type Stray } from './state.ts';

/** Everything that can go wrong now; each takes one of the faults that are left. */
export function* faults(s: State, bounds: Bounds): Generator<Step> {
  if (s.faultsLeft === 0) return;
  const words = (bounds.only ?? '').split('|');
  for (const step of allFaults({ ...s, faultsLeft: s.faultsLeft - 1 }, bounds)) {
    if (words.some((each) => step.kind.includes(each))) yield { ...step, kind: `FAULT: ${step.kind}` };
  }
}

function* allFaults(s: State, { isLedByTwo, oldLooks }: Bounds): Generator<Step> {
  for (const side of sides) {
    if (agentOf(s, side).isAlive) yield* agentFaults(s, side);
    yield* podFaults(s, side);
  }
  const [leader, second] = s.operators;
  if (isLedByTwo && leader.isAlive && !second.isAlive) {
    // paused and woken up: it knows what it knew, writes to the server, and nobody is at the other end of its streams
    const { source, target } = s;
    const old = { ...leader, looksLeft: oldLooks, oldPods: leader.oldPods ?? { source, target } };
    const fresh = { ...noOperator, isAlive: true, cache: s.moves };
    const state = { ...withoutStreams(s), operators: [old, fresh] as const };
    yield { kind: 'operator B leads, A goes on', words: '', state };
  }
  for (const who of whos) {
    const { isAlive, oldPods, looksLeft } = s.operators[who];
    if (isAlive && looksLeft < 0 && oldPods === null && s.target.phase !== 'none') {
      const { source, target } = s;
      yield {
        kind: `${names[who]}'s pods lag behind`,
        words: '',
        state: withOperator(s, who, { oldPods: { source, target } }),
      };
    }
  }
  const stored = s.moves.at(-1);
  if (stored !== undefined && stored.hasFinalizer && !isOver(stored) && !stored.isDeleting) {
    yield { kind: 'the Migration is deleted', words: '', state: withMove(s, { ...stored, isDeleting: true }) };
  }
}

function* agentFaults(s: State, side: Side): Generator<Step> {
  const agent = agentOf(s, side);
  const isWorking = agents.isWorking(agent);
  const kind = `the ${side}'s agent restarts`;
  yield { kind, words: '', state: withAgent(s, side, agents.restarted(agent)) };
  const hasHalfDone = isWorking && agent.journal.order?.kind !== OrderKind.ORDER_KIND_RESTORE;
  if (hasHalfDone && agents.worked(agent) !== agent) {
    const words = 'after its order took effect';
    yield { kind, words, state: withAgent(s, side, agents.restarted(agents.worked(agent))) };
  }
  if (agent.process !== 'none') {
    const emptied = withAgent(s, side, agents.containerRestarted(agent));
    const isBroken = isWorking && agent.journal.order?.kind === OrderKind.ORDER_KIND_CHECKPOINT;
    yield {
      kind: `the ${side}'s container restarts`,
      words: '',
      state: isBroken ? finished(emptied, side, 'failed') : emptied,
    };
  }
  if (isWorking && agent.next === null) {
    const words = OrderKind[agent.journal.order?.kind ?? OrderKind.ORDER_KIND_UNSPECIFIED].replace('ORDER_KIND_', '');
    yield { kind: `the ${side}'s order fails`, words, state: finished(s, side, 'failed') };
    if (agent.journal.order?.kind === OrderKind.ORDER_KIND_RESTORE) {
      yield {
        kind: `the ${side}'s order fails`,
        words: `${words} for good`,
        state: finished(s, side, 'failed for good'),
      };
    }
  }
  if (agent.stream === -1) return;
  yield { kind: `the ${side}'s stream breaks`, words: '', state: withAgent(s, side, agents.cutOff(agent)) };
  const [order, ...orders] = agent.orders;
  if (order !== undefined) {
    const strayed = withStray(s, { kind: 'order', side, order });
    yield { kind: 'an order is doubled', words: nameOf(order), state: strayed };
    yield {
      kind: 'an order leaves its stream',
      words: nameOf(order),
      state: withAgent(strayed, side, { ...agent, orders }),
    };
  }
  const [report] = agent.reports;
  if (report !== undefined) {
    yield { kind: 'a report is doubled', words: side, state: withStray(s, { kind: 'report', side, state: report }) };
  }
}

function* podFaults(s: State, side: Side): Generator<Step> {
  const pod = s[side];
  if (pod.phase === 'none' || pod.node !== 'ok') return;
  if (pod.grace < 0)
    yield { kind: `the user deletes the ${side}`, words: '', state: { ...s, [side]: { ...pod, grace: 30 } } };
  const dead: State = { ...s, [side]: { ...pod, node: 'dead' } };
  yield { kind: `the ${side}'s node dies`, words: '', state: withAgent(dead, side, noAgent) };
}

function withStray(s: State, stray: Stray): State {
  return { ...s, strays: [...s.strays, stray] };
}

/** What may happen but need not, and takes no fault: messages that left their stream arrive, the user tries again. */
export function* chances(s: State, moves: number, { admit }: Rules): Generator<Step> {
  for (const stray of s.strays) {
    const { side } = stray;
    const agent = agentOf(s, side);
    const kind = `LATE: a stray ${stray.kind} arrives`;
    const rest: State = { ...s, strays: s.strays.filter((each) => each !== stray) };
    if (stray.kind === 'order') {
      if (!agent.isAlive || agent.stream === -1) continue;
      const taken = agents.ordered(agent, stray.order, s[side], side, admit);
      yield { kind, words: `${nameOf(stray.order)} at the ${side}`, state: withAgent(rest, side, taken) };
    } else if (agent.stream !== -1 && viewOf(s.operators[agent.stream], side)?.isConnected === true) {
      // the last that this stream brings: on a living one the newest word is always the last
      const ended = withAgent(rest, side, agents.cutOff(agent));
      yield { kind, words: `of the ${side}`, state: heard(ended, agent.stream, side, stray.state) };
    }
  }
  const last = s.moves.at(-1);
  const mayTryAgain = last !== undefined && isOver(last) && !isCommitted(last.status) && s.moves.length < moves;
  if (mayTryAgain && s.source.phase === 'up' && s.source.grace < 0 && s.source.node === 'ok') {
    const again = { ...last, move: last.move + 1, status: firstStatus, isDeleting: false };
    yield {
      kind: 'AGAIN: the user moves the pod again',
      words: '',
      state: { ...s, moves: [...s.moves, again], time: freshTime },
    };
  }
}

const firstStatus = { conditions: [] };
