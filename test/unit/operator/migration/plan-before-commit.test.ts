import * as given from '../../../fakes/operator-objects.ts';
import {
  APP_PHASE_FROZEN,
  APP_PHASE_RUNNING,
  type Case,
  DONE,
  FAILED,
  ORDER_KIND_CHECKPOINT,
  ORDER_KIND_PREFLIGHT,
  WORKING,
  agentState,
  deleted,
  doneUpTo,
  ending,
  frozen,
  gone,
  pod,
  restored,
  startMs,
  statusOf,
  target,
  view,
  waiting,
  word,
  world,
} from '../../../fakes/migration-worlds.ts';
import { planCases } from './plan-cases.ts';

const cases: readonly Case[] = [
  // accepted
  {
    name: 'first of all the finalizer',
    world: world({ migration: given.migration({ metadata: { finalizers: [] } }) }),
    actions: ['AddFinalizer'],
  },
  { name: 'then the preflight check', world: world(), actions: ['PREFLIGHT source'], phase: 'Pending' },
  { name: 'no such pod', world: world({ source: undefined }), failure: 'SOURCE_GONE' },
  {
    name: 'a pod without an agent',
    world: world({ source: pod({ metadata: { annotations: {} } }) }),
    failure: 'NOT_INJECTED',
  },
  { name: 'a pod of a bare ReplicaSet', world: world({ isOfDeployment: false }), failure: 'OWNER_UNSUPPORTED' },
  {
    name: 'a pod of nobody',
    world: world({ source: pod({ metadata: { ownerReferences: [] } }), replicaSet: undefined }),
    failure: 'OWNER_UNSUPPORTED',
  },
  {
    name: 'a pod that another Migration moves',
    world: world({ otherMigration: 'default/other' }),
    failure: 'MIGRATION_CONFLICT',
  },
  { name: 'a spec that cannot be read', world: world({ invalid: 'podName' }), failure: 'MIGRATION_INVALID' },
  {
    name: 'an agent that is busy with an order of somebody else',
    world: world({ sourceAgent: view(agentState({ migrationUid: 'checkpoint', status: WORKING })) }),
    actions: [],
    phase: 'Pending',
  },
  { name: 'an agent that is not there yet', world: world({ sourceAgent: undefined }), actions: [], phase: 'Pending' },
  {
    name: 'an agent that never comes',
    world: world({ sourceAgent: undefined, status: { startedAt: new Date(startMs).toISOString() } }),
    afterMs: 60_000,
    failure: 'AGENT_LOST',
  },
  {
    name: 'an application that does not run',
    world: world({ sourceAgent: waiting, status: { startedAt: new Date(startMs).toISOString() } }),
    afterMs: 60_000,
    failure: 'APP_NOT_RUNNING',
  },
  {
    name: 'a process that cannot move',
    world: world({
      sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PREFLIGHT, DONE, { preflight: ['CGROUP_UNREACHABLE'] })),
    }),
    failure: 'CGROUP_UNREACHABLE',
  },
  {
    name: 'a volume of one node',
    world: world({
      source: pod({ spec: { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data-0' } }] } }),
      claims: new Map([['data-0', given.claim('data-0', 'ReadWriteOnce')]]),
      sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PREFLIGHT, DONE)),
    }),
    failure: 'VOLUME_BOUND',
  },
  {
    name: 'a named node that is none',
    world: world({
      namedNode: { name: 'n9', node: undefined, pods: [] },
      sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PREFLIGHT, DONE)),
    }),
    failure: 'NODE_UNKNOWN',
  },
  {
    name: 'a process whose memory is still arriving',
    world: world({ sourceAgent: view(agentState({ draining: true })) }),
    actions: [],
    phase: 'Pending',
  },
  {
    name: 'a process whose memory never arrives',
    world: world({
      sourceAgent: view(agentState({ draining: true })),
      status: { startedAt: new Date(startMs).toISOString() },
    }),
    afterMs: 60_000,
    failure: 'DRAINING',
  },
  {
    name: 'a process that can move: of which pod is stored before its target exists',
    world: world({ sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PREFLIGHT, DONE)) }),
    actions: [],
    isTrue: 'Accepted',
    phase: 'Preparing',
  },
  {
    name: 'a target for it',
    world: world({ status: doneUpTo('Accepted', { target: undefined }) }),
    actions: ['CreateTargetPod'],
    phase: 'Preparing',
  },
  // target prepared
  {
    name: 'a target that starts',
    world: world({ status: doneUpTo('Accepted'), target: { ...target(), status: statusOf(false, false) } }),
    actions: [],
  },
  {
    name: 'a target whose agent waits while its container starts',
    world: world({
      status: doneUpTo('Accepted'),
      target: { ...target(), status: statusOf(false, false) },
      targetAgent: waiting,
    }),
    isNotTrue: 'TargetPrepared',
  },
  {
    name: 'a target that waits: stored before anything is stopped',
    world: world({ status: doneUpTo('Accepted'), target: target(), targetAgent: waiting }),
    actions: [],
    isTrue: 'TargetPrepared',
    phase: 'PreCopying',
  },
  {
    name: 'a target on a CPU that lacks what the process may use: the source is never stopped',
    world: world({
      status: doneUpTo('Accepted'),
      target: target(),
      targetAgent: { ...waiting, hello: { ...given.hello, cpuFlags: ['sse2'] } },
    }),
    actions: [],
    isNotTrue: 'TargetPrepared',
    failure: 'CPU_FEATURES_MISSING',
  },
  {
    name: 'a target that never starts',
    world: world({ status: doneUpTo('Accepted'), target: target() }),
    afterMs: 60_000,
    failure: 'TARGET_NOT_READY',
  },
  { name: 'a target that was deleted', world: world({ status: doneUpTo('Accepted') }), failure: 'TARGET_LOST' },
  // frozen
  {
    name: 'everything is ready',
    world: world({ status: doneUpTo('PreCopied'), target: target(), targetAgent: waiting }),
    actions: ['CHECKPOINT source'],
  },
  {
    name: 'the checkpoint is under way',
    world: world({
      status: doneUpTo('PreCopied'),
      target: target(),
      targetAgent: waiting,
      sourceAgent: view(word(APP_PHASE_FROZEN, ORDER_KIND_CHECKPOINT, WORKING)),
    }),
    actions: [],
  },
  {
    name: 'the checkpoint failed',
    world: world({
      status: doneUpTo('PreCopied'),
      target: target(),
      targetAgent: waiting,
      sourceAgent: view(
        word(APP_PHASE_RUNNING, ORDER_KIND_CHECKPOINT, FAILED, { failure: { code: 'STORE_DENIED', message: 'no' } }),
      ),
    }),
    failure: 'STORE_DENIED',
    phase: 'RollingBack',
  },
  {
    name: 'the checkpoint is stored: the restore is ordered in the same breath',
    world: world({ status: doneUpTo('PreCopied'), target: target(), targetAgent: waiting, sourceAgent: frozen }),
    actions: ['RESTORE target'],
    isTrue: 'Frozen',
  },
  {
    name: "an answer to another Migration's order is none to ours",
    world: world({
      status: doneUpTo('PreCopied'),
      target: target(),
      targetAgent: waiting,
      sourceAgent: view(
        word(APP_PHASE_FROZEN, ORDER_KIND_CHECKPOINT, DONE, { migrationUid: 'other', checkpoint: given.checkpointRef }),
      ),
    }),
    actions: ['CHECKPOINT source'],
  },
  {
    name: 'the agent of the target is gone for a moment',
    world: world({
      status: doneUpTo('PreCopied'),
      target: target(),
      targetAgent: gone(startMs),
      sourceAgent: frozen,
    }),
    afterMs: 2_000,
    isTrue: 'Frozen',
  },
  {
    name: 'the agent of the target is gone',
    world: world({
      status: doneUpTo('PreCopied'),
      target: target(),
      targetAgent: gone(startMs),
      sourceAgent: frozen,
    }),
    afterMs: 4_000,
    failure: 'TARGET_LOST',
  },
  // committed
  {
    name: 'restored and stopped on both sides: the commit is stored before anything else',
    world: world({ status: doneUpTo('Frozen'), target: target(), targetAgent: restored, sourceAgent: frozen }),
    actions: [],
    isTrue: 'Committed',
    phase: 'Committed',
  },
  {
    name: 'no commit while the source runs',
    world: world({ status: doneUpTo('RestoredStopped'), target: target(), targetAgent: restored }),
    failure: 'AGENT_LOST',
    isNotTrue: 'Committed',
  },
  {
    name: 'no commit without the restored process',
    world: world({ status: doneUpTo('RestoredStopped'), target: target(), targetAgent: waiting, sourceAgent: frozen }),
    failure: 'TARGET_LOST',
    isNotTrue: 'Committed',
  },
  {
    name: 'no commit on a node that is not ready',
    world: world({
      status: doneUpTo('RestoredStopped'),
      target: target(),
      targetAgent: restored,
      sourceAgent: frozen,
      targetNodeIsReady: false,
    }),
    actions: [],
    isNotTrue: 'Committed',
  },
  {
    name: "the source's agent is gone: wait",
    world: world({
      status: doneUpTo('RestoredStopped'),
      target: target(),
      targetAgent: restored,
      sourceAgent: gone(startMs),
    }),
    afterMs: 30_000,
    isNotTrue: 'Committed',
  },
  {
    name: "the source's agent stays away: its process is stopped, so commit",
    world: world({
      status: doneUpTo('RestoredStopped'),
      target: target(),
      targetAgent: restored,
      sourceAgent: gone(startMs),
    }),
    afterMs: 60_000,
    isTrue: 'Committed',
  },
  // before the commit, whatever the step
  {
    name: 'the source is deleted',
    world: world({
      status: doneUpTo('Frozen'),
      target: target(),
      targetAgent: waiting,
      source: ending(given.sourceUid, 30, startMs),
    }),
    failure: 'SOURCE_GONE',
  },
  {
    name: 'the Migration is deleted',
    world: {
      ...world({ target: target(), targetAgent: waiting, sourceAgent: frozen }),
      migration: deleted(doneUpTo('Frozen')),
    },
    failure: 'CANCELLED',
  },
];

describe('operator/migration/plan before the commit', () => planCases(cases));
