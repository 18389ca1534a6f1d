import type { OrderStatus } from '../../../../proto/gen/agent/v1/agent.ts';
import { annotations } from '../../../../proto/names.ts';
import * as given from '../../../fakes/operator-objects.ts';
import {
  APP_PHASE_RUNNING,
  APP_PHASE_WAITING,
  type Case,
  DONE,
  FAILED,
  ORDER_KIND_CHECKPOINT,
  ORDER_KIND_RESTORE,
  ORDER_KIND_RESUME,
  WORKING,
  adopted,
  agentState,
  continued,
  doneUpTo,
  draining,
  ending,
  failure,
  frozen,
  gone,
  readyTarget,
  restored,
  retired,
  startMs,
  statusOf,
  target,
  unready,
  view,
  waiting,
  word,
  world,
} from '../../../fakes/migration-worlds.ts';
import { planCases } from './plan-cases.ts';

function lost(status: OrderStatus, code = ''): ReturnType<typeof view> {
  const failure = code === '' ? undefined : { code, message: 'why' };
  return view(word(APP_PHASE_WAITING, ORDER_KIND_RESTORE, status, { failure }));
}

function started(more: Readonly<Record<string, string>> = {}): ReturnType<typeof target> {
  const pod = target();
  return {
    ...pod,
    metadata: { ...pod.metadata, annotations: { ...pod.metadata.annotations, ...more } },
    status: { ...pod.status, containerStatuses: [{ name: 'app', ready: false, started: true }] },
  };
}

const cases: readonly Case[] = [
  // rollback
  {
    name: 'back: continue the source and remove the target, at once',
    world: world({ status: doneUpTo('Frozen', { failure }), target: target(), sourceAgent: frozen }),
    actions: ['RESUME source', 'delete target in 1 s'],
    phase: 'RollingBack',
  },
  {
    name: 'back: an agent that merely says "running" may have an order to stop on its way',
    world: world({ status: doneUpTo('TargetPrepared', { failure }) }),
    actions: ['RESUME source'],
    isNotTrue: 'Succeeded',
  },
  {
    name: 'back: nothing was stopped yet',
    world: world({ status: doneUpTo('Accepted', { failure }) }),
    actions: [],
    phase: 'Failed',
  },
  {
    name: 'back: wait for the agent of the source, beyond any deadline',
    world: world({ status: doneUpTo('Frozen', { failure }), sourceAgent: gone(startMs) }),
    afterMs: 3_600_000,
    actions: [],
    phase: 'RollingBack',
  },
  {
    name: 'back: the source is gone, there is nothing to continue',
    world: world({ status: doneUpTo('Frozen', { failure }), source: undefined }),
    phase: 'Failed',
  },
  {
    name: 'back: the source says that it was continued',
    world: world({
      status: doneUpTo('Frozen', { failure }),
      sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_RESUME, DONE)),
    }),
    phase: 'Failed',
  },
  {
    name: 'back: the agent continued it itself',
    world: world({
      status: doneUpTo('TargetPrepared', { failure }),
      sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_CHECKPOINT, FAILED)),
    }),
    phase: 'Failed',
  },
  {
    name: 'back: a container that was just started again may still be told to stop, too',
    world: world({ status: doneUpTo('TargetPrepared', { failure }), sourceAgent: waiting }),
    actions: ['RESUME source'],
    isNotTrue: 'Succeeded',
  },
  {
    name: 'back: nothing to continue in a container that was just started again',
    world: world({
      status: doneUpTo('TargetPrepared', { failure }),
      sourceAgent: view(word(APP_PHASE_WAITING, ORDER_KIND_RESUME, FAILED)),
    }),
    phase: 'Failed',
  },
  {
    name: 'back: a target whose kubelet does not answer',
    world: world({ status: doneUpTo('Accepted', { failure }), target: target(), targetNodeIsReady: false }),
    actions: ['delete target in 0 s'],
  },
  {
    name: 'back: a target that never started',
    world: world({
      status: doneUpTo('Accepted', { failure }),
      target: { ...target(), status: statusOf(false, false) },
    }),
    actions: ['delete target in 0 s'],
  },
  {
    name: 'back: a target that is ending',
    world: world({ status: doneUpTo('Accepted', { failure }), target: ending(given.targetUid, 1, startMs) }),
    actions: [],
    phase: 'RollingBack',
  },
  {
    name: 'back: a target that should have ended',
    world: world({ status: doneUpTo('Accepted', { failure }), target: ending(given.targetUid, 1, startMs) }),
    afterMs: 15_000,
    actions: ['delete target in 0 s'],
  },
  // after the commit
  {
    name: 'committed: continue the target',
    world: world({ status: doneUpTo('Committed'), target: target(), targetAgent: restored, sourceAgent: frozen }),
    actions: ['CONTINUE target'],
  },
  {
    name: 'committed: no deadline leads back',
    world: world({ status: doneUpTo('Committed'), target: target(), targetAgent: gone(startMs), sourceAgent: frozen }),
    afterMs: 3_600_000,
    actions: [],
    phase: 'Committed',
  },
  {
    name: 'committed: it runs, but is not Ready',
    world: world({ status: doneUpTo('Committed'), target: target(), targetAgent: continued, sourceAgent: frozen }),
    actions: [],
    isNotTrue: 'Verified',
  },
  {
    name: 'committed: its container has started, and its kubelet is to say whether it is Ready',
    world: world({ status: doneUpTo('Committed'), target: started(), targetAgent: continued, sourceAgent: frozen }),
    actions: ['WakeKubelet'],
    isNotTrue: 'Verified',
  },
  {
    name: 'committed: its kubelet was told so',
    world: world({
      status: doneUpTo('Committed'),
      target: started({ [annotations.started]: 'true' }),
      targetAgent: continued,
      sourceAgent: frozen,
    }),
    actions: [],
    isNotTrue: 'Verified',
  },
  {
    name: 'committed: it runs and is Ready',
    world: world({ status: doneUpTo('Committed'), target: readyTarget, targetAgent: continued, sourceAgent: frozen }),
    actions: ['RETIRE source'],
    isTrue: 'Verified',
    phase: 'CuttingOver',
  },
  {
    name: 'committed: the process was lost before it was continued',
    world: world({ status: doneUpTo('Committed'), target: target(), targetAgent: lost(DONE), sourceAgent: frozen }),
    actions: ['RESTORE target'],
  },
  {
    name: 'committed: and is being restored again',
    world: world({ status: doneUpTo('Committed'), target: target(), targetAgent: lost(WORKING), sourceAgent: frozen }),
    actions: [],
    isNotTrue: 'Verified',
  },
  {
    name: 'committed: that failed, and may succeed',
    world: world({
      status: doneUpTo('Committed'),
      target: target(),
      targetAgent: lost(FAILED, 'STORE_UNREACHABLE'),
      sourceAgent: frozen,
    }),
    actions: ['RESTORE target'],
  },
  {
    name: 'committed: that cannot succeed, so the pod is started afresh',
    world: world({
      status: doneUpTo('Committed'),
      target: target(),
      targetAgent: lost(FAILED, 'OBJECT_CORRUPT'),
      sourceAgent: frozen,
    }),
    actions: ['delete target in its s', 'RETIRE source', 'delete source in its s'],
    failure: 'OBJECT_CORRUPT',
  },
  {
    name: 'committed: the target ended',
    world: world({ status: doneUpTo('Committed'), sourceAgent: frozen }),
    actions: ['RETIRE source', 'delete source in its s'],
  },
  {
    name: 'committed: the target ended and so has the source',
    world: world({ status: doneUpTo('Committed'), source: undefined }),
    phase: 'Failed',
    failure: 'TARGET_LOST',
  },
  // cutover
  {
    name: 'cutover: a source that is still Ready might be the one that stays',
    world: world({ status: doneUpTo('Verified'), target: readyTarget, targetAgent: continued, sourceAgent: retired }),
    actions: [],
  },
  {
    name: 'cutover: unless its kubelet does not answer',
    world: world({ status: doneUpTo('Verified'), target: readyTarget, targetAgent: continued, sourceAgent: retired }),
    afterMs: 20_000,
    actions: ['PreferDeletion', 'LabelTarget'],
  },
  {
    name: 'cutover: the ReplicaSet gets the target',
    world: world({
      status: doneUpTo('Verified'),
      source: unready,
      target: readyTarget,
      targetAgent: continued,
      sourceAgent: retired,
    }),
    actions: ['PreferDeletion', 'LabelTarget'],
  },
  {
    name: 'cutover: and without a source too',
    world: world({ status: doneUpTo('Verified'), source: undefined, target: readyTarget, targetAgent: continued }),
    actions: ['LabelTarget'],
  },
  {
    name: "cutover: the source's agent does not answer",
    world: world({
      status: doneUpTo('Verified'),
      source: unready,
      target: readyTarget,
      targetAgent: continued,
      sourceAgent: gone(startMs),
    }),
    afterMs: 29_000,
    actions: ['RETIRE source'],
  },
  {
    name: 'cutover: nor will it',
    world: world({
      status: doneUpTo('Verified'),
      source: unready,
      target: readyTarget,
      targetAgent: continued,
      sourceAgent: gone(startMs),
    }),
    afterMs: 31_000,
    actions: ['PreferDeletion', 'LabelTarget'],
  },
  {
    name: 'cutover: the ReplicaSet removes the source',
    world: world({
      status: doneUpTo('Verified'),
      source: unready,
      target: adopted,
      targetAgent: continued,
      sourceAgent: retired,
    }),
    actions: [],
    isNotTrue: 'CutOver',
  },
  {
    name: 'cutover: it does not',
    world: world({
      status: doneUpTo('Verified'),
      source: unready,
      target: adopted,
      targetAgent: continued,
      sourceAgent: retired,
    }),
    afterMs: 11_000,
    actions: ['delete source in its s'],
  },
  {
    name: 'cutover: the containers of the source have ended',
    world: world({
      status: doneUpTo('Verified'),
      source: { ...ending(given.sourceUid, 30, startMs), status: { phase: 'Running', containerStatuses: [] } },
      target: adopted,
      targetAgent: continued,
    }),
    isTrue: 'CutOver',
  },
  {
    name: 'cutover: the kubelet of the source does not answer',
    world: world({
      status: doneUpTo('Verified'),
      source: ending(given.sourceUid, 30, startMs),
      sourceNodeIsReady: false,
      target: adopted,
      targetAgent: continued,
    }),
    afterMs: 11_000,
    actions: ['delete source in 0 s'],
  },
  {
    name: 'cutover: the ReplicaSet was deleted',
    world: world({
      status: doneUpTo('Verified'),
      source: undefined,
      replicaSet: undefined,
      target: readyTarget,
      targetAgent: continued,
    }),
    actions: ['delete target in its s'],
    failure: 'SOURCE_GONE',
  },
  // drained
  {
    name: 'drained: the cutover does not wait for the last pages, the end does',
    world: world({ status: doneUpTo('Verified'), source: undefined, target: adopted, targetAgent: draining }),
    actions: [],
    isTrue: 'CutOver',
    isNotTrue: 'Succeeded',
    phase: 'Draining',
  },
  {
    name: 'drained: not known without an agent',
    world: world({ status: doneUpTo('CutOver'), source: undefined, target: adopted, targetAgent: gone(startMs) }),
    actions: [],
    isNotTrue: 'Succeeded',
  },
  {
    name: 'drained: the pod ends before all its memory has come',
    world: world({ status: doneUpTo('CutOver'), source: undefined }),
    failure: 'TARGET_LOST',
    phase: 'Failed',
  },
  {
    name: 'drained: another order of a later move changes nothing',
    world: world({ status: doneUpTo('CutOver'), source: undefined, target: adopted, targetAgent: view(agentState()) }),
    isTrue: 'Succeeded',
  },
  {
    name: 'the end',
    world: world({ status: doneUpTo('Verified'), source: undefined, target: adopted, targetAgent: continued }),
    phase: 'Succeeded',
    isTrue: 'Succeeded',
  },
];

describe('operator/migration/plan on the way back and after the commit', () => planCases(cases));
