import { expect } from 'chai';
import type { CheckpointStatus } from '../../../../proto/checkpoint.ts';
import { AppPhase, OrderKind, OrderStatus } from '../../../../proto/gen/agent/v1/agent.ts';
import { failureKeptMs } from '../../../../operator/checkpoint/keep.ts';
import { takeWithinMs } from '../../../../operator/checkpoint/orders.ts';
import { plan, startWithinMs, stopWithinMs } from '../../../../operator/checkpoint/plan.ts';
import type { Action, World } from '../../../../operator/checkpoint/world.ts';
import { checkpoint, checkpointId, startMs, word, world } from '../../../fakes/checkpoint-worlds.ts';
import * as given from '../../../fakes/operator-objects.ts';

const { ORDER_KIND_PREFLIGHT, ORDER_KIND_PRECOPY, ORDER_KIND_CHECKPOINT, ORDER_KIND_RESUME } = OrderKind;
const { ORDER_STATUS_WORKING: working, ORDER_STATUS_DONE: done, ORDER_STATUS_FAILED: failed } = OrderStatus;

/** Orders by their kind, everything else by its name. */
const named = (actions: readonly Action[]): string[] =>
  actions.map((action) => (action.kind === 'SendOrder' ? OrderKind[action.order.kind].slice(11) : action.kind));

const started: CheckpointStatus = plan(world(), startMs).status;
const copied: CheckpointStatus = plan(
  world({ checkpoint: checkpoint(started), agent: word(ORDER_KIND_PRECOPY, done) }),
  startMs,
).status;
const ref = {
  id: checkpointId,
  manifestKey: `p/ns/i/checkpoints/${checkpointId}/manifest`,
  manifestSha256: 'a'.repeat(64),
};
const stored = word(ORDER_KIND_CHECKPOINT, done, {
  checkpoint: ref,
  transfer: { ...given.noTransfer, pageBytes: 8n, storedBytes: 4n, totalBytes: 6n, parent: 'g0-before', freezeMs: 30 },
});
const complete: CheckpointStatus = plan(world({ checkpoint: checkpoint(copied), agent: stored }), startMs).status;
const broken: CheckpointStatus = plan(
  world({ checkpoint: checkpoint(copied), agent: word(ORDER_KIND_CHECKPOINT, failed) }),
  startMs,
).status;
const disconnected = given.view(undefined, { isConnected: false });
const deleted = { deletionTimestamp: new Date(startMs).toISOString() };
const failure = { code: 'STORE_DENIED', message: 'no' };

interface Case {
  readonly name: string;
  readonly world: Partial<World>;
  readonly atMs?: number;
  readonly actions?: readonly string[];
  readonly phase?: CheckpointStatus['phase'];
  /** Code of the failure, or the reason that it waits for. */
  readonly why?: string;
}

const cases: Record<string, readonly Case[]> = {
  begins: [
    { name: 'when nothing speaks against it', world: {}, phase: 'Running' },
    {
      name: 'not without its finalizer',
      world: { checkpoint: checkpoint({}, { finalizers: [] }) },
      actions: ['AddFinalizer'],
    },
    {
      name: 'without one where nothing can be released',
      world: { checkpoint: checkpoint({}, { finalizers: [] }), canRelease: false },
      phase: 'Running',
    },
    { name: 'not while the pod moves', world: { migration: 'move' }, phase: 'Pending', why: 'Moving' },
    { name: 'not without the agent', world: { agent: disconnected }, phase: 'Pending', why: 'AgentNotConnected' },
    {
      name: 'not while pages of the last move arrive',
      world: { agent: given.view(given.agentState({ draining: true })) },
      phase: 'Pending',
      why: 'Draining',
    },
    {
      name: 'not before the application runs',
      world: { agent: given.view(given.agentState({ phase: AppPhase.APP_PHASE_WAITING })) },
      phase: 'Pending',
      why: 'AppNotRunning',
    },
    { name: 'not before it is its turn', world: { hasTurn: false }, phase: 'Pending', why: 'Queued' },
    { name: 'not before the owner is known', world: { workload: undefined }, phase: 'Pending', why: 'OwnerUnknown' },
    {
      name: 'not after it has waited too long',
      world: { migration: 'move' },
      atMs: startWithinMs,
      phase: 'Failed',
      why: 'MIGRATION_CONFLICT',
    },
    { name: 'never without a pod', world: { pod: undefined }, phase: 'Failed', why: 'SOURCE_GONE' },
    { name: 'never when it cannot be read', world: { invalid: 'podName' }, phase: 'Failed', why: 'CHECKPOINT_INVALID' },
    {
      name: 'never without an agent in the pod',
      world: { pod: given.pod({ spec: { containers: [] } }) },
      phase: 'Failed',
      why: 'NOT_INJECTED',
    },
    {
      name: 'never in place of whoever records that of a move',
      world: { checkpoint: { ...checkpoint(), spec: { podName: 'p', migrationName: 'm' } } },
    },
  ],
  'when it has begun': [
    { name: 'looks first for what cannot be taken', world: {}, actions: ['PREFLIGHT'] },
    { name: 'then copies ahead', world: { agent: word(ORDER_KIND_PREFLIGHT, done) }, actions: ['PRECOPY'] },
    { name: 'waits for an order under way', world: { agent: word(ORDER_KIND_PRECOPY, working) } },
    {
      name: 'asks again when the agent has heard something else',
      world: { agent: given.view(given.agentState()) },
      actions: ['PREFLIGHT'],
    },
    { name: 'waits for an agent that is away', world: { agent: disconnected } },
    {
      name: 'fails by the reason of the agent',
      world: { agent: word(ORDER_KIND_PRECOPY, failed, { failure }) },
      phase: 'Failed',
      why: 'STORE_DENIED',
    },
    {
      name: 'fails by what cannot be taken',
      world: { agent: word(ORDER_KIND_PREFLIGHT, done, { preflight: ['GPU_IN_USE'] }) },
      phase: 'Failed',
      why: 'GPU_IN_USE',
    },
    {
      name: 'gives way to a move, and breaks off what is under way',
      world: { migration: 'move', agent: word(ORDER_KIND_PRECOPY, working) },
      actions: ['RESUME'],
      phase: 'Failed',
      why: 'MIGRATION_CONFLICT',
    },
    {
      name: 'gives way to a move without a word to the agent when nothing is under way',
      world: { migration: 'move', agent: word(ORDER_KIND_PREFLIGHT, done) },
      phase: 'Failed',
      why: 'MIGRATION_CONFLICT',
    },
    {
      name: 'fails when its time is over',
      world: { agent: word(ORDER_KIND_PRECOPY, working) },
      atMs: takeWithinMs,
      actions: ['RESUME'],
      phase: 'Failed',
      why: 'DEADLINE_EXCEEDED',
    },
    {
      name: 'fails when the pod is gone',
      world: { pod: undefined, agent: undefined },
      phase: 'Failed',
      why: 'SOURCE_GONE',
    },
  ],
};

describe('operator/checkpoint/plan', () => {
  for (const [what, list] of Object.entries(cases)) {
    describe(what, () => {
      for (const c of list) {
        it(c.name, () => {
          const base = what === 'begins' ? {} : { checkpoint: checkpoint(started) };
          const seen = world({ ...base, ...c.world });
          const next = plan(seen, startMs + (c.atMs ?? 0));
          expect(named(next.actions)).to.deep.equal(c.actions ?? []);
          expect(next.status.phase).to.equal(c.phase ?? seen.checkpoint.status.phase);
          const waits = next.status.conditions?.find(({ status }) => status === 'False')?.reason;
          if (c.why !== undefined) expect([next.status.failure?.code, waits]).to.include(c.why);
        });
      }
    });
  }

  it('stores that it has begun, and where, before the first order', () => {
    const next = plan(world(), startMs);
    expect(next.actions).to.deep.equal([]);
    expect(next.status).to.deep.include({
      source: { pod: given.pod().metadata.name, uid: given.sourceUid, node: 'n1' },
      workload: { kind: 'Deployment', name: 'web' },
      instance: given.sourceUid,
      generation: 0,
    });
  });

  it('stores that nothing is copied ahead any more before the process is stopped, which its agent continues', () => {
    const [, again] = copied.conditions ?? [];
    expect(again?.type).to.equal('PreCopied');
    const { actions } = plan(world({ checkpoint: checkpoint(copied), agent: word(ORDER_KIND_PRECOPY, done) }), startMs);
    expect(named(actions)).to.deep.equal(['CHECKPOINT']);
    const [order] = actions;
    expect(order?.kind === 'SendOrder' && order.order.leaveRunning).to.equal(true);
    expect(order?.kind === 'SendOrder' && order.order.checkpoint?.id).to.equal(checkpointId);
    expect(order?.kind === 'SendOrder' && order.order.timeoutMs).to.equal(stopWithinMs);
  });

  it('is complete by the word of the agent, even when that has had another order since', () => {
    expect(complete).to.deep.include({
      phase: 'Completed',
      id: checkpointId,
      manifestKey: ref.manifestKey,
      memoryBytes: 8,
      newBytes: 4,
      totalBytes: 6,
      parent: 'g0-before',
      stoppedMs: 30,
    });
    const other = given.view(given.agentState({ checkpoint: ref, migrationUid: 'another', attempt: 1 }));
    const seen = { checkpoint: checkpoint(copied), agent: other, migration: 'another' };
    expect(plan(world(seen), startMs).status).to.include({ phase: 'Completed', id: checkpointId });
  });

  const kept: readonly (Case & { readonly status: CheckpointStatus; readonly finalizers?: string[] })[] = [
    { name: 'stays', status: complete, world: {} },
    { name: 'goes when storage holds it no more', status: complete, world: { isStored: false }, actions: ['Delete'] },
    { name: 'stays when storage holds it', status: complete, world: { isStored: true }, atMs: 9_999_000 },
    { name: 'stays while its instance is served, whatever its age', status: complete, world: {}, atMs: 9_999_000 },
    {
      name: 'goes when its time is over and nobody serves its instance',
      status: complete,
      world: { isServed: false },
      atMs: 3_600_000,
      actions: ['Delete'],
    },
    { name: 'that failed gives its finalizer back', status: broken, world: {}, actions: ['RemoveFinalizer'] },
    { name: 'that failed tells why for a while', status: broken, finalizers: [], world: {} },
    {
      name: 'that failed goes then',
      status: broken,
      finalizers: [],
      world: {},
      atMs: failureKeptMs,
      actions: ['Delete'],
    },
    {
      name: 'that failed goes when the interval has brought the next',
      status: broken,
      finalizers: [],
      world: { isSuperseded: true },
      actions: ['Delete'],
    },
  ];
  for (const { name, status, finalizers, world: change, atMs = 0, actions = [] } of kept) {
    it(`one that is over ${name}`, () => {
      const seen = world({ checkpoint: checkpoint(status, finalizers === undefined ? {} : { finalizers }), ...change });
      expect(named(plan(seen, startMs + atMs).actions)).to.deep.equal(actions);
    });
  }

  it('says when it expires', () => {
    const { status } = plan(world({ checkpoint: checkpoint(complete) }), startMs);
    expect(status.expiresAt).to.equal(new Date(startMs + 3_600_000).toISOString());
  });

  const leaving: readonly (Case & { readonly status: CheckpointStatus })[] = [
    { name: 'is released, then it goes', status: complete, world: {}, actions: ['Release', 'RemoveFinalizer'] },
    { name: 'stays while somebody may restore from it', status: complete, world: { isInUse: true } },
    { name: 'that failed just goes', status: broken, world: {}, actions: ['RemoveFinalizer'] },
    { name: 'that has not begun just goes', status: {}, world: {}, actions: ['RemoveFinalizer'] },
    {
      name: 'under way is broken off first',
      status: copied,
      world: { agent: word(ORDER_KIND_CHECKPOINT, working) },
      actions: ['RESUME'],
    },
    {
      name: 'is not asked to break off twice',
      status: copied,
      world: { agent: word(ORDER_KIND_RESUME, working) },
    },
    { name: 'under way waits for an agent that is away', status: copied, world: { agent: disconnected } },
    {
      name: 'under way does not wait for ever',
      status: copied,
      world: { agent: disconnected },
      atMs: takeWithinMs,
      actions: ['RemoveFinalizer'],
    },
    {
      name: 'that was completed meanwhile is released',
      status: copied,
      world: { agent: stored },
      actions: ['Release', 'RemoveFinalizer'],
    },
  ];
  for (const { name, status, world: change, atMs = 0, actions = [] } of leaving) {
    it(`one that is deleted ${name}`, () => {
      const seen = world({ checkpoint: checkpoint(status, deleted), ...change });
      expect(named(plan(seen, startMs + atMs).actions)).to.deep.equal(actions);
    });
  }

  it('releases what its manifest key says', () => {
    const [release] = plan(world({ checkpoint: checkpoint(complete, deleted) }), startMs).actions;
    expect(release).to.deep.equal({ kind: 'Release', place: { keyPrefix: 'p/ns/i/', checkpoint: checkpointId } });
  });
});
