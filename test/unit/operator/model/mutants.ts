import { admit } from '../../../../agent/orders/admit.ts';
import { AppPhase, OrderKind, OrderStatus } from '../../../../proto/gen/agent/v1/agent.ts';
import type { AgentView } from '../../../../operator/hub/agents.ts';
import { isCommitted, isFinished, isTrue, withCondition } from '../../../../operator/migration/conditions.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import { refOf, sendOrder, type Action, type Plan, type World } from '../../../../operator/migration/world.ts';
import { createPlanning, type Planner } from './planning.ts';
import type { Rules } from './progress.ts';
import type { Bounds } from './reduce.ts';

/** The operator and the agents as they are. */
export const real: Rules = { planning: createPlanning(plan), admit, isLocked: true };

/** One small mistake each, and what of it must be found. */
export interface Mutant {
  readonly name: string;
  readonly rules: Rules;
  readonly bounds?: Partial<Bounds>;
  readonly breaks: string;
}

const { ORDER_KIND_CHECKPOINT, ORDER_KIND_CONTINUE, ORDER_KIND_RESTORE, ORDER_KIND_RESUME, ORDER_KIND_RETIRE } =
  OrderKind;
const { ORDER_STATUS_DONE, ORDER_STATUS_WORKING } = OrderStatus;

function planning(planner: Planner): Rules {
  return { ...real, planning: createPlanning(planner) };
}

/** The real plan, of a world that is not quite so. */
function believing(change: (world: World) => Partial<World>): Rules {
  return planning((world, nowMs) => plan({ ...world, ...change(world) }, nowMs));
}

/** The real plan, and what it does not ask for. */
function adding(more: (world: World, planned: Plan) => readonly Action[]): Rules {
  return planning((world, nowMs) => {
    const planned = plan(world, nowMs);
    return { ...planned, actions: [...planned.actions, ...more(world, planned)] };
  });
}

function order(world: World, side: 'source' | 'target', kind: OrderKind): readonly Action[] {
  const pod = world[side];
  return pod === undefined ? [] : [sendOrder(world, pod.metadata.uid, kind)];
}

/** An order under way, taken for done. */
function asDone(view: AgentView | undefined, kind: OrderKind, phase: AppPhase): AgentView | undefined {
  const state = view?.state;
  if (view === undefined || state?.order !== kind || state.status !== ORDER_STATUS_WORKING) return view;
  const checkpoint = { id: 'g1', manifestKey: 'key', manifestSha256: 'a'.repeat(64) };
  return { ...view, state: { ...state, status: ORDER_STATUS_DONE, phase, checkpoint } };
}

/** Any word taken for one on the present attempt. */
function asOurs(view: AgentView | undefined, { migration }: World): AgentView | undefined {
  const state = view?.state;
  if (view === undefined || state === undefined) return view;
  return { ...view, state: { ...state, migrationUid: migration.metadata.uid, attempt: 1 } };
}

export const mutants: readonly Mutant[] = [
  {
    name: 'commit before restored',
    rules: believing(({ targetAgent }) => ({
      targetAgent: asDone(targetAgent, ORDER_KIND_RESTORE, AppPhase.APP_PHASE_RESTORED),
    })),
    breaks: 'the commit is decided before the target is restored',
  },
  {
    name: 'continue before commit',
    rules: adding(({ migration, ...world }, { status }) =>
      isTrue(status, 'RestoredStopped') && !isCommitted(migration.status)
        ? order({ migration, ...world }, 'target', ORDER_KIND_CONTINUE)
        : [],
    ),
    breaks: 'the target runs, and no commit is recorded',
  },
  {
    name: 'kill before verified',
    rules: adding((world) => {
      const { status } = world.migration;
      return isCommitted(status) && !isTrue(status, 'Verified') ? order(world, 'source', ORDER_KIND_RETIRE) : [];
    }),
    breaks: 'the source is ended before the target is verified or lost',
  },
  {
    name: 'delete the source before verified',
    rules: adding(({ migration: { status }, source }) =>
      isCommitted(status) && !isTrue(status, 'Verified') && source !== undefined
        ? [{ kind: 'DeletePod', pod: refOf(source) }]
        : [],
    ),
    breaks: 'the source is deleted before the target is verified or lost',
  },
  {
    name: 'retry without attempt check: the agents obey a RESUME of an old attempt',
    rules: {
      ...real,
      admit: (given, journal, restoreFor) => {
        const { migrationUid, attempt } = given.kind === ORDER_KIND_RESUME ? (journal.order ?? given) : given;
        return admit({ ...given, migrationUid, attempt }, journal, restoreFor);
      },
    },
    bounds: { leftovers: ['RESUME'] },
    breaks: 'the source runs after the commit',
  },
  {
    name: 'retry without attempt check: the operator takes reports of an old attempt for its own',
    rules: believing((world) => ({ sourceAgent: asOurs(world.sourceAgent, world) })),
    bounds: { leftovers: ['report'] },
    breaks: 'a Migration is over, and its stopped source stays',
  },
  {
    name: 'the agents obey an order to stop after RESUME',
    rules: { ...real, admit: (given, journal, restoreFor) => admit(given, { ...journal, rolledBack: [] }, restoreFor) },
    bounds: { faults: 1, only: 'an order' },
    breaks: 'a Migration is over, and its stopped source stays',
  },
  {
    name: 'roll back after the commit, when the target is lost',
    rules: adding((world) =>
      isCommitted(world.migration.status) && world.target === undefined
        ? order(world, 'source', ORDER_KIND_RESUME)
        : [],
    ),
    bounds: { faults: 1, only: 'the user deletes the target' },
    breaks: 'the source runs after the commit',
  },
  {
    name: 'continue the source without recording that the move is given up',
    rules: adding((world) => {
      const isGone = world.targetAgent?.isConnected !== true && isTrue(world.migration.status, 'Frozen');
      return isGone && !isCommitted(world.migration.status) ? order(world, 'source', ORDER_KIND_RESUME) : [];
    }),
    bounds: { faults: 1, only: "the target's stream breaks" },
    breaks: 'the source runs after the commit',
  },
  {
    name: 'restore before the checkpoint is complete',
    rules: believing(({ sourceAgent }) => ({
      sourceAgent: asDone(sourceAgent, ORDER_KIND_CHECKPOINT, AppPhase.APP_PHASE_FROZEN),
    })),
    breaks: 'an incomplete checkpoint is restored',
  },
  {
    name: 'forget the optimistic lock',
    rules: { ...real, isLocked: false },
    bounds: { faults: 1, only: 'operator B leads', isLedByTwo: true },
    breaks: 'a Migration is over, and its target is left',
  },
  {
    name: 'take the finalizer off before the clean-up',
    rules: planning((world, nowMs) => {
      const planned = plan(world, nowMs);
      const { migration } = world;
      if (migration.status.failure === undefined || isFinished(migration.status)) return planned;
      const over = { status: 'False' as const, reason: 'Failed', message: '' };
      return { ...planned, status: withCondition(migration, planned.status, 'Succeeded', over, nowMs) };
    }),
    breaks: 'a Migration is over, and its stopped source stays',
  },
  {
    name: 'roll back without the answer to RESUME, because the source runs',
    rules: believing((world) => ({ sourceAgent: runningAsResumed(world) })),
    breaks: 'a Migration is over, and its stopped source stays',
  },
  {
    name: 'create the target before the Migration says of which pod',
    rules: planning((world, nowMs) => {
      const planned = plan(world, nowMs);
      const isNew = isTrue(planned.status, 'Accepted') && !isTrue(world.migration.status, 'Accepted');
      if (!isNew) return planned;
      return plan({ ...world, migration: { ...world.migration, status: planned.status } }, nowMs);
    }),
    bounds: { faults: 1, only: 'the Migration is deleted' },
    breaks: 'a Migration is over, and its target is left',
  },
  {
    name: 'wait for the target for ever',
    rules: planning((world, nowMs) =>
      isTrue(world.migration.status, 'Frozen') && !isTrue(world.migration.status, 'RestoredStopped')
        ? { actions: [], status: world.migration.status }
        : plan(world, nowMs),
    ),
    breaks: 'no end can be reached',
  },
];

function runningAsResumed({ sourceAgent, migration }: World): AgentView | undefined {
  const state = sourceAgent?.state;
  const isRunning = state?.phase === AppPhase.APP_PHASE_RUNNING && migration.status.failure !== undefined;
  if (sourceAgent === undefined || !isRunning) return sourceAgent;
  const told = {
    migrationUid: migration.metadata.uid,
    attempt: 1,
    order: ORDER_KIND_RESUME,
    status: ORDER_STATUS_DONE,
  };
  return { ...sourceAgent, state: { ...state, ...told } };
}
