import type { ErrorCode } from '../../proto/errors.ts';
import { podTemplateHash } from '../../proto/names.ts';
import { AppPhase, OrderKind, OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import type { ConditionType, Migration, MigrationStatus } from '../../proto/migration.ts';
import type { Action, World } from '../../operator/migration/world.ts';
import * as given from './operator-objects.ts';

export const { startMs, pod, target, view, word, agentState, statusOf } = given;
export const { APP_PHASE_FROZEN, APP_PHASE_MOVED, APP_PHASE_RESTORED, APP_PHASE_RUNNING, APP_PHASE_WAITING } = AppPhase;
export const { ORDER_STATUS_DONE: DONE, ORDER_STATUS_FAILED: FAILED, ORDER_STATUS_WORKING: WORKING } = OrderStatus;
export const { ORDER_KIND_CHECKPOINT, ORDER_KIND_CONTINUE, ORDER_KIND_PREFLIGHT, ORDER_KIND_RESTORE } = OrderKind;
export const { ORDER_KIND_RESUME, ORDER_KIND_RETIRE, ORDER_KIND_WARM, ORDER_KIND_PRECOPY } = OrderKind;
export const failure = { code: 'CRIU_DUMP_FAILED', message: 'why' } as const;

const order: readonly ConditionType[] = [
  'Accepted',
  'TargetPrepared',
  'Warmed',
  'PreCopied',
  'Frozen',
  'RestoredStopped',
  'Committed',
  'Verified',
  'CutOver',
  'Drained',
];

/** A status in which everything up to and including this step is done. */
export function doneUpTo(last: ConditionType, change: MigrationStatus = {}): MigrationStatus {
  const at = new Date(startMs).toISOString();
  return {
    startedAt: at,
    attempt: 1,
    generation: 1,
    instance: given.sourceUid,
    source: { pod: 'web-5d4f8-abcde', uid: given.sourceUid, node: 'n1' },
    target: { pod: target().metadata.name, uid: given.targetUid, node: 'n2' },
    checkpoint: { ...given.checkpointRef, pageBytes: 1, storedBytes: 1, fileBytes: 0 },
    conditions: order.slice(0, order.indexOf(last) + 1).map((type) => ({
      type,
      status: 'True',
      reason: 'Done',
      message: '',
      lastTransitionTime: at,
      observedGeneration: 1,
    })),
    ...change,
  };
}

export function world(change: Partial<World> & { readonly status?: MigrationStatus } = {}): World {
  const { status, ...rest } = change;
  return {
    migration: given.migration({ status: status ?? {} }),
    invalid: undefined,
    source: pod(),
    sourceAgent: view(agentState()),
    sourceNodeIsReady: true,
    replicaSet: given.replicaSet(),
    isOfDeployment: true,
    target: undefined,
    targetAgent: undefined,
    targetNodeIsReady: true,
    namedNode: undefined,
    claims: new Map(),
    otherMigration: undefined,
    secret: given.secret,
    hubSinceMs: startMs,
    ...rest,
  };
}

/** Actions as words: `RESUME source`, `delete target in 1 s`. */
export function wordsOf(actions: readonly Action[]): string[] {
  const who = (uid: string): string => (uid === given.sourceUid ? 'source' : 'target');
  return actions.map((action) => {
    if (action.kind === 'SendOrder') {
      return `${OrderKind[action.order.kind].replace('ORDER_KIND_', '')} ${who(action.podUid)}`;
    }
    if (action.kind === 'DeletePod') return `delete ${who(action.pod.uid)} in ${action.graceSeconds ?? 'its'} s`;
    return action.kind;
  });
}

export const frozen = view(word(APP_PHASE_FROZEN, ORDER_KIND_CHECKPOINT, DONE, { checkpoint: given.checkpointRef }));
export const warm = view(word(APP_PHASE_WAITING, ORDER_KIND_WARM, DONE, { directPort: 4_000 }));
export const copied = view(word(APP_PHASE_RUNNING, ORDER_KIND_PRECOPY, DONE));
export const restored = view(word(APP_PHASE_RESTORED, ORDER_KIND_RESTORE, DONE));
export const continued = view(word(APP_PHASE_RUNNING, ORDER_KIND_CONTINUE, DONE));
export const draining = view(word(APP_PHASE_RUNNING, ORDER_KIND_CONTINUE, DONE, { draining: true }));
export const retired = view(word(APP_PHASE_MOVED, ORDER_KIND_RETIRE, DONE));
export const waiting = view(agentState({ phase: APP_PHASE_WAITING }));
export const gone = (sinceMs: number): ReturnType<typeof view> => view(agentState(), { isConnected: false, sinceMs });
export const readyTarget = { ...target(), status: statusOf(true) };
export const unready = { ...pod(), status: statusOf(false) };
export const labelled = target({ metadata: { ...target().metadata, labels: { [podTemplateHash]: '5d4f8' } } });
export const adopted = {
  ...labelled,
  metadata: { ...labelled.metadata, ownerReferences: pod().metadata.ownerReferences ?? [] },
};
export const ending = (uid: string, graceSeconds: number, atMs: number): ReturnType<typeof pod> => {
  const base = uid === given.sourceUid ? pod() : target();
  const deletionTimestamp = new Date(atMs).toISOString();
  return {
    ...base,
    metadata: { ...base.metadata, deletionTimestamp, deletionGracePeriodSeconds: graceSeconds },
  };
};

export interface Case {
  readonly name: string;
  readonly world: World;
  /** After `startMs`. */
  readonly afterMs?: number;
  readonly actions?: readonly string[];
  readonly phase?: string;
  readonly failure?: ErrorCode;
  readonly isTrue?: ConditionType;
  readonly isNotTrue?: ConditionType;
}

export function deleted(status: MigrationStatus): Migration {
  return given.migration({ status, metadata: { deletionTimestamp: new Date(startMs).toISOString() } });
}
