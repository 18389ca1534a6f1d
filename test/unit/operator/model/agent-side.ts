import type { Journal } from '../../../../agent/journal.ts';
import { stateOf } from '../../../../agent/ledger.ts';
import { begin, type admit } from '../../../../agent/orders/admit.ts';
import { afterRestart } from '../../../../agent/roles.ts';
import { OrderKind, OrderStatus, type AgentState, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { checkpointRef } from '../../../fakes/operator-objects.ts';
import { intern } from './intern.ts';
import { appPid, uidOfMove, type AgentSide, type PodSide, type Side } from './state.ts';

export type Admit = typeof admit;

const { ORDER_STATUS_DONE, ORDER_STATUS_FAILED, ORDER_STATUS_WORKING } = OrderStatus;
const stoppedTree = [{ pid: appPid, startTime: '1' }];

/** How an order ends. */
export type End = 'done' | 'failed' | 'failed for good';

/** With the journal's words in one order, so that equal journals are equal in JSON. */
function written(agent: AgentSide, change: Partial<Journal>): AgentSide {
  const {
    role,
    stopped,
    draining,
    appPid: pid,
    order,
    checkpoint,
    rolledBack,
    placeholder: _1,
    restoredFrom: _2,
    ...rest
  } = {
    ...agent.journal,
    ...change,
  };
  return { ...agent, journal: { role, stopped, draining, appPid: pid, order, checkpoint, rolledBack, ...rest } };
}

export function wordOf({ journal }: AgentSide): AgentState {
  return intern(stateOf(journal, { transfer: undefined, findings: [], directPort: 0 }));
}

/** Says its state to the operator at the other end. What is on its way already need not be said again. */
export function reported(agent: AgentSide): AgentSide {
  if (agent.stream === -1) return agent;
  const word = wordOf(agent);
  return agent.reports.at(-1) === word ? agent : { ...agent, reports: [...agent.reports, word] };
}

function change(agent: AgentSide, next: Partial<Journal>): AgentSide {
  return reported(written(agent, next));
}

export function isWorking({ journal }: AgentSide): boolean {
  return journal.order?.status === ORDER_STATUS_WORKING;
}

/** An order arrives. */
export function ordered(agent: AgentSide, order: Order, pod: PodSide, side: Side, admitOrder: Admit): AgentSide {
  const restoreFor = side === 'target' ? uidOfMove(pod.move) : undefined;
  if (admitOrder(order, agent.journal, restoreFor).verdict !== 'run') return reported(agent);
  return isWorking(agent) ? { ...agent, next: order } : begun(agent, order);
}

/** Orders that change nothing take no time of their own. */
const atOnce: ReadonlySet<OrderKind> = new Set([OrderKind.ORDER_KIND_PREFLIGHT, OrderKind.ORDER_KIND_WARM]);

function begun(agent: AgentSide, order: Order): AgentSide {
  const next = begin(order, agent.journal);
  const { order: word } = next;
  if (word === undefined || !atOnce.has(order.kind)) return change({ ...agent, next: null }, next);
  return change({ ...agent, next: null }, { ...next, order: { ...word, status: ORDER_STATUS_DONE } });
}

/** What the order did, before anybody is told. */
export function worked(agent: AgentSide): AgentSide {
  const kind = agent.journal.order?.kind ?? OrderKind.ORDER_KIND_UNSPECIFIED;
  if (kind === OrderKind.ORDER_KIND_RETIRE) return { ...agent, process: 'none' };
  const wasRestored = agent.wasRestored || kind === OrderKind.ORDER_KIND_RESTORE;
  if (stops.has(kind)) return { ...agent, process: 'stopped', wasRestored };
  // only what the journal calls stopped is continued
  const isContinued = continues.has(kind) && agent.process === 'stopped' && agent.journal.stopped.length > 0;
  return isContinued ? { ...agent, process: 'running' } : agent;
}

const stops: ReadonlySet<OrderKind> = new Set([OrderKind.ORDER_KIND_CHECKPOINT, OrderKind.ORDER_KIND_RESTORE]);
const continues: ReadonlySet<OrderKind> = new Set([OrderKind.ORDER_KIND_RESUME, OrderKind.ORDER_KIND_CONTINUE]);

const results: Partial<Record<OrderKind, Partial<Journal>>> = {
  [OrderKind.ORDER_KIND_CHECKPOINT]: { role: 'frozen', stopped: stoppedTree, checkpoint: checkpointRef },
  [OrderKind.ORDER_KIND_RESTORE]: { role: 'restored', stopped: stoppedTree, appPid, draining: true },
  [OrderKind.ORDER_KIND_RESUME]: { role: 'serving', stopped: [] },
  [OrderKind.ORDER_KIND_CONTINUE]: { role: 'serving', stopped: [] },
  [OrderKind.ORDER_KIND_RETIRE]: { role: 'moved', stopped: [], appPid: undefined },
};

/** The order under way ends, and the one that waits for that begins. */
export function ended(agent: AgentSide, how: End): AgentSide {
  const { order } = agent.journal;
  if (order === undefined) return agent;
  const after =
    how === 'done'
      ? change(worked(agent), { ...results[order.kind], order: { ...order, status: ORDER_STATUS_DONE } })
      : failed(agent, how === 'failed' ? 'STORE_READ_FAILED' : 'STORE_DENIED');
  return after.next === null ? after : begun(after, after.next);
}

function failed(agent: AgentSide, code: string): AgentSide {
  const { order } = agent.journal;
  if (order === undefined) return agent;
  const isCheckpoint = order.kind === OrderKind.ORDER_KIND_CHECKPOINT;
  return change(agent, {
    order: { ...order, status: ORDER_STATUS_FAILED, failure: { code, message: '' } },
    ...(isCheckpoint ? { role: 'serving' } : {}),
  });
}

/** A checkpoint needs an application, and a restored one that has lost its pages is not continued before it has them. */
export function canBeDone(agent: AgentSide): boolean {
  const kind = agent.journal.order?.kind;
  if (kind === OrderKind.ORDER_KIND_CHECKPOINT || kind === OrderKind.ORDER_KIND_PRECOPY)
    return agent.process !== 'none';
  return kind !== OrderKind.ORDER_KIND_CONTINUE || !isRefillDue(agent);
}

/** Its stream ends, with everything that was on its way. */
export function cutOff(agent: AgentSide): AgentSide {
  return { ...agent, stream: -1, orders: [], reports: [] };
}

/** The agent's process is killed and started again: agent/after-restart.ts. */
export function restarted(agent: AgentSide): AgentSide {
  const { draining, order } = agent.journal;
  const cut: AgentSide = { ...cutOff(agent), next: null, process: draining ? 'none' : agent.process };
  if (!isWorking(cut)) return cut;
  const isCheckpoint = order?.kind === OrderKind.ORDER_KIND_CHECKPOINT;
  return failed(isCheckpoint && cut.process === 'stopped' ? { ...cut, process: 'running' } : cut, 'AGENT_LOST');
}

/** The application's container is started again: agent/look-after.ts. */
export function containerRestarted(agent: AgentSide): AgentSide {
  const role = afterRestart[agent.journal.role];
  return change({ ...agent, process: 'none' }, { role, appPid: undefined, stopped: [], draining: false });
}

/** Serves, and its container runs nothing: agent/look-after.ts starts the application. */
export function isStartDue({ isAlive, journal, process, next }: AgentSide): boolean {
  const isBusy = journal.order?.status === ORDER_STATUS_WORKING || next !== null;
  return isAlive && journal.role === 'serving' && journal.appPid === undefined && process === 'none' && !isBusy;
}

export function started(agent: AgentSide): AgentSide {
  return change({ ...agent, process: 'running' }, { appPid });
}

/** What lost its pages with the agent is restored again in full: agent/draining.ts. */
export function isRefillDue({ isAlive, journal, process }: AgentSide): boolean {
  return isAlive && journal.draining && process === 'none';
}

export function refilled(agent: AgentSide): AgentSide {
  const isStopped = agent.journal.role === 'restored';
  return change(
    { ...agent, process: isStopped ? 'stopped' : 'running' },
    { draining: false, appPid, stopped: isStopped ? stoppedTree : [] },
  );
}

export function drained(agent: AgentSide): AgentSide {
  return change(agent, { draining: false });
}
