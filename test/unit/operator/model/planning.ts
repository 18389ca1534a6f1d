import { annotations, finalizer, podTemplateHash } from '../../../../proto/names.ts';
import type { Order } from '../../../../proto/gen/agent/v1/agent.ts';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import type { AgentView } from '../../../../operator/hub/agents.ts';
import type { Pod } from '../../../../operator/kube/objects.ts';
import { targetPodName } from '../../../../operator/migration/target-pod.ts';
import type { Action, Plan, World } from '../../../../operator/migration/world.ts';
import * as given from '../../../fakes/operator-objects.ts';
import { idOf, intern } from './intern.ts';
import {
  moveOfUid,
  podUid,
  uidOfMove,
  type Operator,
  type PodSide,
  type Side,
  type State,
  type Stored,
  type View,
} from './state.ts';

export type Planner = (world: World, nowMs: number) => Plan;

/** What one look asks for, in the model's words. */
export interface Planned {
  readonly effects: readonly Effect[];
  readonly status: MigrationStatus;
}

export type Effect =
  | { readonly kind: 'AddFinalizer' | 'RemoveFinalizer' | 'DeleteMigration' | 'CreateTarget' }
  | { readonly kind: 'DeletePod'; readonly uid: string; readonly grace: number }
  | { readonly kind: 'LabelTarget'; readonly uid: string }
  | { readonly kind: 'SendOrder'; readonly uid: string; readonly order: Order };

const nowMs = given.startMs + 1_000_000_000;
const atNow = new Date(nowMs).toISOString();
const timeoutMs = 60_000;
const ordinaryGrace = 30;
/** How long the target has been verified at each age: see operator/migration/after-commit.ts. */
const verifiedMs = [0, 11_000, 21_000, 31_000];

/**
 * Asks the real plan, once for each thing it may be asked. It sees real objects, with times such that exactly the deadlines
 * have passed which the model says; what it answers is stripped of times and texts, which decide nothing.
 */
export function createPlanning(plan: Planner): (s: State, operator: Operator, move: number) => Planned | undefined {
  const answers = new Map<string, Planned>();
  return (s, operator, move) => {
    const stored = operator.cache[move];
    if (stored === undefined || stored === null) return undefined;
    const { source, target } = operator.oldPods ?? s;
    const parts = [stored, source, target, operator.sourceView, operator.targetView, s.time];
    const key = `${operator.isSettled}${parts.map((part) => (part === null ? '' : idOf(part))).join()}`;
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = plan(worldOf(s, operator, stored), nowMs);
    const planned = { effects: answer.actions.flatMap(effectOf), status: withoutTime(answer.status) };
    answers.set(key, planned);
    return planned;
  };
}

function worldOf(s: State, operator: Operator, stored: Stored): World {
  const pods = operator.oldPods ?? s;
  const source = podOf('source', pods.source);
  const target = targetOf(stored, podOf('target', pods.target));
  return {
    migration: given.migration({
      metadata: {
        uid: uidOfMove(stored.move),
        finalizers: stored.hasFinalizer ? [finalizer] : [],
        ...(stored.isDeleting ? { deletionTimestamp: atNow } : {}),
      },
      spec: { timeoutSeconds: timeoutMs / 1_000 },
      status: withTime(stored.status, s),
    }),
    invalid: undefined,
    source,
    sourceAgent: source === undefined ? undefined : viewOf(operator.sourceView),
    sourceNodeIsReady: s.source.node !== 'known dead',
    replicaSet: given.replicaSet(),
    isOfDeployment: true,
    target,
    targetAgent: target === undefined ? undefined : viewOf(operator.targetView),
    targetNodeIsReady: s.target.node !== 'known dead',
    otherMigration: undefined,
    namedNode: undefined,
    claims: new Map(),
    secret: given.secret,
    hubSinceMs: operator.isSettled ? given.startMs : nowMs,
  };
}

/** As observe() finds it: by uid once recorded, before that by name. */
function targetOf({ move, status }: Stored, pod: Pod | undefined): Pod | undefined {
  if (pod === undefined) return undefined;
  if (status.target?.uid !== undefined) return pod.metadata.uid === status.target.uid ? pod : undefined;
  return pod.metadata.annotations?.[annotations.restore] === uidOfMove(move) && status.source !== undefined
    ? pod
    : undefined;
}

function viewOf(view: View | null): AgentView | undefined {
  if (view === null) return undefined;
  const sinceMs = view.isLongLost ? given.startMs : nowMs;
  return given.view(view.state ?? undefined, { isConnected: view.isConnected, phaseSinceMs: sinceMs, sinceMs });
}

function podOf(side: Side, pod: PodSide): Pod | undefined {
  if (pod.phase === 'none') return undefined;
  const base = side === 'source' ? given.pod() : given.target();
  const uid = podUid(side, pod);
  const migration = uidOfMove(Math.max(0, pod.move));
  const ofTarget = { ...base.metadata.annotations, [annotations.restore]: migration };
  const deletedMs = pod.isOverdue ? given.startMs : nowMs;
  return {
    ...base,
    metadata: {
      ...base.metadata,
      uid,
      ...(side === 'target'
        ? { name: targetPodName(given.pod().metadata.name, 1, migration), annotations: ofTarget }
        : {}),
      labels: pod.isLabelled ? { app: 'web', [podTemplateHash]: '5d4f8' } : { app: 'web' },
      ownerReferences: pod.isOwned ? (given.pod().metadata.ownerReferences ?? []) : [],
      ...(pod.grace < 0
        ? {}
        : { deletionTimestamp: new Date(deletedMs).toISOString(), deletionGracePeriodSeconds: pod.grace }),
    },
    status: given.statusOf(pod.isReady, pod.phase === 'up'),
  };
}

function withTime(status: MigrationStatus, { time }: State): MigrationStatus {
  const at = (ageMs: number): string => new Date(nowMs - ageMs).toISOString();
  const ages: Readonly<Record<string, number>> = {
    Warmed: time.isWarmLate ? 6_000 : 0,
    Verified: verifiedMs[time.verifiedAge] ?? 0,
  };
  return {
    ...status,
    ...(status.startedAt === undefined ? {} : { startedAt: at(time.isLate ? timeoutMs + 1 : 0) }),
    ...(status.conditions === undefined
      ? {}
      : { conditions: status.conditions.map((each) => ({ ...each, lastTransitionTime: at(ages[each.type] ?? 0) })) }),
  };
}

/** What is left decides; the rest is for people. */
function withoutTime(status: MigrationStatus): MigrationStatus {
  const { timeline: _1, drain: _2, downtimeMs: _3, phase: _4, completedAt: _5, startedAt, failure, ...rest } = status;
  return intern({
    ...rest,
    startedAt: startedAt === undefined ? undefined : '',
    failure: failure === undefined ? undefined : { code: failure.code, message: '' },
    conditions: (status.conditions ?? []).map(({ type, status: value }) => ({
      type,
      status: value,
      reason: '',
      message: '',
      lastTransitionTime: '',
      observedGeneration: 1,
    })),
  });
}

function effectOf(action: Action): readonly Effect[] {
  switch (action.kind) {
    case 'AddFinalizer':
    case 'RemoveFinalizer':
    case 'DeleteMigration':
      return [{ kind: action.kind }];
    case 'CreateTargetPod':
      return [{ kind: 'CreateTarget' }];
    case 'DeletePod':
      return [{ kind: 'DeletePod', uid: action.pod.uid, grace: action.graceSeconds ?? ordinaryGrace }];
    case 'LabelTarget':
      return [{ kind: 'LabelTarget', uid: action.pod.uid }];
    case 'SendOrder': {
      const { kind, migrationUid, attempt, checkpoint } = action.order;
      const order: Order = {
        kind,
        migrationUid,
        attempt,
        timeoutMs: 0,
        checkpoint,
        direct: undefined,
        options: undefined,
      };
      return [{ kind: 'SendOrder', uid: action.podUid, order: intern(order) }];
    }
    // they change nothing that the model knows
    case 'PreferDeletion':
    case 'WakeKubelet':
    case 'RecordCheckpoint':
      return [];
    default:
      throw new Error(`the model does not know the action ${(action as Action).kind}`);
  }
}

/** The move that an order is of. */
export function moveOf(order: Order): number {
  return moveOfUid(order.migrationUid);
}
