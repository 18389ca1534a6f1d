import { OrderKind } from '../../../../proto/gen/agent/v1/agent.ts';
import { isCommitted } from '../../../../operator/migration/conditions.ts';
import { canBeDone, isWorking } from './agent-side.ts';
import { moveOf } from './planning.ts';
import { isOver } from './operator-side.ts';
import type { State } from './state.ts';

/** Every promise, with when it is broken. Design section 5. */
const broken: Readonly<Record<string, (s: State) => boolean>> = {
  'two copies run': (s) => s.sourceAgent.process === 'running' && s.targetAgent.process === 'running',
  'the target runs, and no commit is recorded': (s) =>
    s.targetAgent.process === 'running' && !isCommittedMove(s, s.target.move),
  'the source runs after the commit': (s) =>
    s.sourceAgent.process === 'running' && s.moves.some(({ status }) => isCommitted(status)),
  'an incomplete checkpoint is restored': ({ targetAgent, complete }) => {
    const { order } = targetAgent.journal;
    return (
      isWorking(targetAgent) && order?.kind === OrderKind.ORDER_KIND_RESTORE && !complete.includes(moveOfOrder(order))
    );
  },
  'both decisions are recorded: commit and failure': (s) =>
    s.moves.some(({ status }) => isCommitted(status) && status.failure !== undefined && !isFailedAfterCommit(s)),
  'the instance is lost': (s) => !isAlive(s),
  'a Migration is over, and its stopped source stays': (s) => isEnd(s) && !hasGoodSource(s),
  'a Migration is over, and its target is left': (s) => isEnd(s) && !hasGoodTarget(s),
};

export function brokenPromise(s: State): string | undefined {
  for (const [promise, isBroken] of Object.entries(broken)) if (isBroken(s)) return promise;
  return undefined;
}

/** The last Migration is over. */
export function isEnd(s: State): boolean {
  const last = s.moves.at(-1);
  return last !== undefined && isOver(last);
}

function moveOfOrder(order: {
  readonly kind: OrderKind;
  readonly migrationUid: string;
  readonly attempt: number;
}): number {
  return moveOf({ ...order, timeoutMs: 0, checkpoint: undefined, direct: undefined, options: undefined });
}

function isCommittedMove(s: State, move: number): boolean {
  return isCommitted(s.moves[move]?.status ?? {});
}

function wasCommitted(s: State): boolean {
  return s.moves.some(({ status }) => isCommitted(status));
}

/** The target is lost, or it cannot get the process: only then may a committed move fail. */
function isFailedAfterCommit({ target, targetAgent }: State): boolean {
  return target.phase === 'none' || target.grace >= 0 || target.node !== 'ok' || targetAgent.process === 'none';
}

function isSourceThere({ source }: State): boolean {
  return source.phase === 'up' && source.grace < 0 && source.node === 'ok';
}

/** A copy runs, or can be continued, or is restored from a complete checkpoint; or its pod was deleted, and the ReplicaSet makes another. */
function isAlive(s: State): boolean {
  if (!isSourceThere(s)) return true;
  const { sourceAgent, targetAgent, target, complete } = s;
  if (sourceAgent.process !== 'none' || targetAgent.process !== 'none') return true;
  if (willServe(s)) return true;
  const last = s.moves.at(-1);
  const isUnderWay = last !== undefined && !isOver(last);
  // stopped for ever, or moved away: there must be a way forward
  const isTargetUp = target.phase !== 'none' && target.grace < 0 && target.node === 'ok';
  return isUnderWay && (!wasCommitted(s) || (isTargetUp && complete.includes(last.move)) || isFailedAfterCommit(s));
}

/** Its container has just been started again: its agent starts the application there. */
function willServe({ sourceAgent: agent }: State): boolean {
  return agent.journal.role === 'serving' || (isWorking(agent) && agent.process === 'none' && !canBeDone(agent));
}

/** Where the move failed, the application runs in its pod, or is just being started; where it did not, the pod goes. */
function hasGoodSource(s: State): boolean {
  if (!isSourceThere(s)) return true;
  if (wasCommitted(s)) return false;
  return s.sourceAgent.process === 'running' || willServe(s);
}

/** Only the survivor stays. */
function hasGoodTarget({ target, moves }: State): boolean {
  if (target.phase === 'none' || target.grace >= 0) return true;
  return target.isOwned && isCommitted(moves[target.move]?.status ?? {});
}
