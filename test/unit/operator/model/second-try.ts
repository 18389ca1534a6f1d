import { OrderKind, OrderStatus, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { checkpointRef } from '../../../fakes/operator-objects.ts';
import { wordOf } from './agent-side.ts';
import { intern } from './intern.ts';
import type { Bounds, Leftover } from './reduce.ts';
import { appPid, canonical, firstState, uidOfMove, type AgentSide, type State, type Stray } from './state.ts';

const failed = {
  failure: { code: 'DEADLINE_EXCEEDED' as const, message: '' },
  conditions: [
    {
      type: 'Succeeded' as const,
      status: 'False' as const,
      reason: '',
      message: '',
      lastTransitionTime: '',
      observedGeneration: 1,
    },
  ],
};

/**
 * The first move was rolled back, the user tries again, and of what the first said every message that could do harm may still
 * arrive: a state that the model reaches by itself only with many faults.
 */
export function secondTry({ faults, leftovers }: Bounds): State {
  const first = firstState(faults);
  const order = { kind: OrderKind.ORDER_KIND_RESUME, migrationUid: uidOfMove(0), attempt: 1 };
  const sourceAgent: AgentSide = {
    ...first.sourceAgent,
    journal: {
      role: 'serving',
      stopped: [],
      draining: false,
      appPid,
      order: { ...order, status: OrderStatus.ORDER_STATUS_DONE },
      checkpoint: checkpointRef,
      rolledBack: [`${uidOfMove(0)}/1`],
    },
  };
  const over = { move: 0, status: intern(failed), hasFinalizer: false, isDeleting: false };
  const stray = (leftover: Leftover): Stray => {
    if (leftover === 'report') return { kind: 'report', side: 'source', state: wordOf(sourceAgent) };
    const kind = OrderKind[`ORDER_KIND_${leftover}`];
    const old: Order = { ...order, kind, timeoutMs: 0, checkpoint: undefined, direct: undefined, options: undefined };
    return { kind: 'order', side: 'source', order: intern(old) };
  };
  return canonical({
    ...first,
    moves: [over, { ...over, move: 1, status: intern({ conditions: [] }) }],
    sourceAgent,
    operators: [{ ...first.operators[0], cache: [over] }, first.operators[1]],
    complete: [0],
    strays: leftovers.map(stray),
  });
}
