import { annotations, containers, podTemplateHash, servingGate } from '../../proto/names.ts';
import {
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentState,
  type Hello,
  type Transfer,
} from '../../proto/gen/agent/v1/agent.ts';
import type { Migration, MigrationStatus } from '../../proto/migration.ts';
import type { AgentView } from '../../operator/hub/agents.ts';
import type { Node, PersistentVolumeClaim, Pod, ReplicaSet } from '../../operator/kube/objects.ts';

/** Objects of one small workload, as the API server would send them: the starting point of the operator's tests. */
export const sourceUid = '11111111-1111-4111-8111-111111111111';
export const targetUid = '22222222-2222-4222-8222-222222222222';
export const migrationUid = 'abcdef01-3333-4333-8333-333333333333';
export const replicaSetUid = '44444444-4444-4444-8444-444444444444';

export const secret = Buffer.alloc(32, 7);

const created = '2026-01-01T00:00:00Z';
export const startMs = Date.parse('2026-01-01T00:01:00.000Z');

export function replicaSet(): ReplicaSet {
  return {
    metadata: {
      name: 'web-5d4f8',
      namespace: 'default',
      uid: replicaSetUid,
      resourceVersion: '5',
      creationTimestamp: created,
      labels: { app: 'web', [podTemplateHash]: '5d4f8' },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'd', controller: true }],
    },
    spec: { replicas: 1, template: { spec: {} } },
  };
}

export function node(name: string, isReady = true): Node {
  return {
    metadata: { name, uid: `node-${name}`, resourceVersion: '1', creationTimestamp: created },
    status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'Unknown' }] },
  };
}

export function claim(name: string, ...accessModes: readonly string[]): PersistentVolumeClaim {
  const metadata = {
    name,
    namespace: 'default',
    uid: `claim-${name}`,
    resourceVersion: '1',
    creationTimestamp: created,
  };
  return { metadata, spec: { accessModes } };
}

export function pod(
  change: { readonly metadata?: Partial<Pod['metadata']>; readonly spec?: Partial<Pod['spec']> } = {},
): Pod {
  return {
    metadata: {
      name: 'web-5d4f8-abcde',
      namespace: 'default',
      uid: sourceUid,
      resourceVersion: '10',
      creationTimestamp: created,
      labels: { app: 'web', [podTemplateHash]: '5d4f8' },
      annotations: { [annotations.injected]: '1', [annotations.original]: '{"container":"app","command":["app"]}' },
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-5d4f8', uid: replicaSetUid, controller: true },
      ],
      ...change.metadata,
    },
    spec: {
      nodeName: 'n1',
      readinessGates: [{ conditionType: servingGate }],
      containers: [
        { name: 'app', image: 'app:1', command: ['/.podferry/bin/sleep', 'infinity'] },
        { name: containers.agent, image: 'podferry/agent' },
      ],
      ...change.spec,
    },
    status: statusOf(true),
  };
}

/** A pod as the restore target of the Migration. */
export function target(change: Parameters<typeof pod>[0] = {}): Pod {
  const base = pod();
  const { ownerReferences: _, ...metadata } = base.metadata;
  return {
    ...base,
    metadata: {
      ...metadata,
      name: 'web-5d4f8-abcde-g1-abcde',
      uid: targetUid,
      labels: { app: 'web' },
      annotations: {
        ...metadata.annotations,
        [annotations.restore]: migrationUid,
        [annotations.replicaSet]: replicaSetUid,
        [annotations.generation]: '1',
        [annotations.instance]: sourceUid,
      },
      ...change.metadata,
    },
    spec: { ...base.spec, nodeName: 'n2', ...change.spec },
    status: statusOf(false),
  };
}

export function statusOf(isReady: boolean, isUp = true): NonNullable<Pod['status']> {
  const state = isUp ? { running: { startedAt: created } } : { waiting: { reason: 'ContainerCreating' } };
  return {
    phase: isUp ? 'Running' : 'Pending',
    conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
    containerStatuses: [
      { name: 'app', ready: isReady, state },
      { name: containers.agent, ready: isUp, state },
    ],
  };
}

export function migration(
  change: {
    readonly metadata?: Partial<Migration['metadata']>;
    readonly spec?: Partial<Migration['spec']>;
    readonly status?: MigrationStatus;
  } = {},
): Migration {
  return {
    metadata: {
      name: 'move-web',
      namespace: 'default',
      uid: migrationUid,
      resourceVersion: '100',
      generation: 1,
      creationTimestamp: created,
      finalizers: ['migration.io/cleanup'],
      ...change.metadata,
    },
    spec: { podName: 'web-5d4f8-abcde', strategy: 'lazy-hybrid', timeoutSeconds: 60, ...change.spec },
    status: change.status ?? {},
  };
}

export function agentState(change: Partial<AgentState> = {}): AgentState {
  return {
    phase: AppPhase.APP_PHASE_RUNNING,
    migrationUid: '',
    attempt: 0,
    order: OrderKind.ORDER_KIND_UNSPECIFIED,
    status: OrderStatus.ORDER_STATUS_UNSPECIFIED,
    failure: undefined,
    checkpoint: undefined,
    transfer: undefined,
    appPid: 0,
    preflight: [],
    findings: [],
    directPort: 0,
    draining: false,
    ...change,
  };
}

/** The agent's word on an order of the Migration. */
export function word(
  phase: AppPhase,
  order: OrderKind,
  status: OrderStatus,
  change: Partial<AgentState> = {},
): AgentState {
  return agentState({ phase, order, status, migrationUid, attempt: 1, ...change });
}

export function view(state: AgentState | undefined, change: Partial<AgentView> = {}): AgentView {
  return { isConnected: true, hello, state, phaseSinceMs: startMs, sinceMs: startMs, ...change };
}

export const hello: Hello = {
  agentVersion: 'test',
  criuVersion: '4.2.1',
  kernelRelease: '6.1',
  machine: 'x86_64',
  cpuFlags: ['avx', 'sse2'],
  kernelLacks: [],
};

export const noTransfer: Transfer = {
  pageBytes: 0n,
  storedBytes: 0n,
  fileBytes: 0n,
  freezeMs: 0,
  tookMs: 0,
  timeline: [],
  rounds: 0,
  directBytes: 0n,
  lazy: undefined,
};

export const checkpointRef = {
  id: 'g1-abcdef01',
  manifestKey: 'k/checkpoints/g1/manifest',
  manifestSha256: 'a'.repeat(64),
};
