import type { Checkpoint, CheckpointStatus } from '../../proto/checkpoint.ts';
import { AppPhase, type AgentState, type OrderKind, type OrderStatus } from '../../proto/gen/agent/v1/agent.ts';
import { finalizer } from '../../proto/names.ts';
import type { World } from '../../operator/checkpoint/world.ts';
import * as given from './operator-objects.ts';

/** One Checkpoint of one pod, as the operator sees it: the starting point of tests of its plan. */
export const checkpointUid = 'fedcba98-5555-4555-8555-555555555555';
export const checkpointId = 'g0-fedcba98';
export const { startMs } = given;

export function checkpoint(status: CheckpointStatus = {}, metadata: Partial<Checkpoint['metadata']> = {}): Checkpoint {
  return {
    metadata: {
      name: 'point',
      namespace: 'default',
      uid: checkpointUid,
      resourceVersion: '7',
      generation: 1,
      creationTimestamp: new Date(startMs).toISOString(),
      finalizers: [finalizer],
      ...metadata,
    },
    spec: { podName: given.pod().metadata.name },
    status,
  };
}

/** The pod runs, its agent is there, nobody else wants anything. */
export function world(change: Partial<World> = {}): World {
  return {
    checkpoint: checkpoint(),
    invalid: undefined,
    pod: given.pod(),
    agent: given.view(given.agentState()),
    workload: { kind: 'Deployment', name: 'web' },
    migration: undefined,
    hasTurn: true,
    isInUse: false,
    isServed: true,
    isStored: undefined,
    isSuperseded: false,
    canRelease: true,
    ttlSeconds: 3_600,
    ...change,
  };
}

/** The agent's word on an order of the Checkpoint. */
export function word(order: OrderKind, status: OrderStatus, change: Partial<AgentState> = {}): World['agent'] {
  const phase = AppPhase.APP_PHASE_RUNNING;
  return given.view(given.agentState({ migrationUid: checkpointUid, attempt: 1, order, status, phase, ...change }));
}
