import { OrderKind, type AgentState, type Order } from '../../proto/gen/agent/v1/agent.ts';
import { attempt, checkpointIdOf, isWorking, type Action, type World } from './world.ts';

/** From the beginning of a checkpoint to its end. */
export const takeWithinMs = 300_000;
const resumeMs = 30_000;

/** An order to the agent of the pod. The one that stops the process has it continued by the agent itself. */
export function orderFor({ checkpoint }: Pick<World, 'checkpoint'>, kind: OrderKind, timeoutMs: number): Action {
  const isCheckpoint = kind === OrderKind.ORDER_KIND_CHECKPOINT;
  const order: Order = {
    kind,
    migrationUid: checkpoint.metadata.uid,
    attempt,
    timeoutMs: Math.max(1, Math.round(timeoutMs)),
    checkpoint: { id: checkpointIdOf(checkpoint), manifestKey: '', manifestSha256: '' },
    direct: undefined,
    options: undefined,
    ...(isCheckpoint && { leaveRunning: true }),
  };
  return { kind: 'SendOrder', podUid: checkpoint.status.source?.uid ?? '', order };
}

/** Breaks off the order under way, and with it the checkpoint; the agent continues the process. */
export function takeBack(world: World, word: AgentState | undefined): readonly Action[] {
  const isResuming = word?.order === OrderKind.ORDER_KIND_RESUME;
  return isWorking(word) && !isResuming ? [orderFor(world, OrderKind.ORDER_KIND_RESUME, resumeMs)] : [];
}
