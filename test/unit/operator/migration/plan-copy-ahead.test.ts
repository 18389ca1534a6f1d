import { expect } from 'chai';
import type { Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import type { World } from '../../../../operator/migration/world.ts';
import * as given from '../../../fakes/operator-objects.ts';
import {
  APP_PHASE_RUNNING,
  APP_PHASE_WAITING,
  type Case,
  DONE,
  FAILED,
  ORDER_KIND_CONTINUE,
  ORDER_KIND_PRECOPY,
  ORDER_KIND_WARM,
  WORKING,
  adopted,
  copied,
  doneUpTo,
  frozen,
  gone,
  restored,
  startMs,
  target,
  view,
  waiting,
  warm,
  word,
  world,
} from '../../../fakes/migration-worlds.ts';
import { planCases } from './plan-cases.ts';

const at = new Date(startMs).toISOString();
const warming = doneUpTo('TargetPrepared', {
  conditions: [
    ...(doneUpTo('TargetPrepared').conditions ?? []),
    { type: 'Warmed', status: 'False', reason: 'Warming', message: '', lastTransitionTime: at, observedGeneration: 1 },
  ],
});
const quiet = word(APP_PHASE_WAITING, ORDER_KIND_WARM, DONE);
const prepared = { status: doneUpTo('TargetPrepared'), target: target(), targetAgent: waiting };
const isWarm = { status: doneUpTo('Warmed'), target: target(), targetAgent: warm };

const cases: readonly Case[] = [
  // warmed
  { name: 'the target is asked to listen', world: world(prepared), actions: ['WARM target'], phase: 'PreCopying' },
  {
    name: 'a target that is about to listen is asked no more',
    world: world({
      ...prepared,
      status: warming,
      targetAgent: view(word(APP_PHASE_WAITING, ORDER_KIND_WARM, WORKING)),
    }),
    afterMs: 4_000,
    isNotTrue: 'Warmed',
  },
  {
    name: 'it listens: the source begins to copy',
    world: world({ ...prepared, targetAgent: warm }),
    actions: ['PRECOPY source'],
    isTrue: 'Warmed',
  },
  {
    name: 'it cannot listen: the source begins nevertheless',
    world: world({
      ...prepared,
      targetAgent: view(
        word(APP_PHASE_WAITING, ORDER_KIND_WARM, FAILED, { failure: { code: 'DIRECT_FAILED', message: 'no port' } }),
      ),
    }),
    actions: ['PRECOPY source'],
    isTrue: 'Warmed',
  },
  {
    name: 'it does not answer: the source begins nevertheless',
    world: world({ ...prepared, status: warming }),
    afterMs: 5_000,
    actions: ['PRECOPY source'],
    isTrue: 'Warmed',
  },
  {
    name: 'an older operator has begun the move without this',
    world: world({
      status: {
        ...doneUpTo('Committed'),
        conditions: (doneUpTo('Committed').conditions ?? []).filter(({ type }) => !/Warmed|PreCopied/.test(type)),
      },
      target: target(),
      sourceAgent: frozen,
      targetAgent: restored,
    }),
    isTrue: 'PreCopied',
  },
  // copied ahead
  {
    name: 'the source copies',
    world: world({ ...isWarm, sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PRECOPY, WORKING)) }),
    actions: [],
    isNotTrue: 'PreCopied',
  },
  {
    name: 'the source has copied: stored before anything is stopped',
    world: world({ ...isWarm, sourceAgent: copied }),
    actions: [],
    isTrue: 'PreCopied',
    phase: 'Freezing',
  },
  {
    name: 'the source could not copy: the move fails, and it was never stopped',
    world: world({
      ...isWarm,
      sourceAgent: view(
        word(APP_PHASE_RUNNING, ORDER_KIND_PRECOPY, FAILED, { failure: { code: 'STORE_DENIED', message: 'no' } }),
      ),
    }),
    actions: [],
    failure: 'STORE_DENIED',
    phase: 'RollingBack',
  },
  {
    name: 'the source never ends copying',
    world: world({ ...isWarm, sourceAgent: view(word(APP_PHASE_RUNNING, ORDER_KIND_PRECOPY, WORKING)) }),
    afterMs: 60_000,
    failure: 'DEADLINE_EXCEEDED',
  },
  {
    name: 'the agent of the source is away while it should copy',
    world: world({ ...isWarm, sourceAgent: gone(startMs) }),
    afterMs: 10_000,
    actions: [],
    isNotTrue: 'PreCopied',
  },
  {
    name: 'the agent of the target may be away for longer while the source runs',
    world: world({ ...isWarm, targetAgent: gone(startMs) }),
    afterMs: 10_000,
    actions: ['PRECOPY source'],
  },
  {
    name: 'but not for ever',
    world: world({ ...isWarm, targetAgent: gone(startMs) }),
    afterMs: 16_000,
    failure: 'TARGET_LOST',
  },
];

describe('operator/migration/plan: copying ahead', () => {
  planCases(cases);

  const listening = { ...target(), status: { ...target().status, podIP: '10.1.2.3' } };
  const direct = { host: '10.1.2.3', port: 4_000, secret: given.secret };

  function orderOf(seen: World): Order {
    const [action] = plan(seen, startMs).actions;
    if (action?.kind !== 'SendOrder') throw new Error('no order');
    return action.order;
  }

  it('gives the secret of the move to the target, and with the way there to the source', () => {
    expect(orderOf(world(prepared)).direct).to.deep.equal({ host: '', port: 0, secret: given.secret });
    const order = orderOf(world({ ...isWarm, target: listening }));
    expect(order.direct).to.deep.equal(direct);
    expect(order.checkpoint?.id).to.equal('g1-abcdef01');
    const stop = orderOf(world({ ...isWarm, target: listening, status: doneUpTo('PreCopied'), sourceAgent: copied }));
    expect(stop.direct).to.deep.equal(direct);
  });

  it('names no way when the target listens on none, or has no address', () => {
    expect(orderOf(world({ ...isWarm, target: listening, targetAgent: waiting })).direct).to.equal(undefined);
    expect(orderOf(world(isWarm)).direct).to.equal(undefined);
  });

  it('tells every agent the strategy', () => {
    const migration = given.migration({ status: doneUpTo('PreCopied'), spec: { strategy: 'full' } });
    const seen = { ...world({ ...isWarm, sourceAgent: copied }), migration };
    expect(orderOf(seen).options).to.deep.equal({ strategy: 'full', freezeBudgetMs: 0, off: [], logUpload: false });
    expect(orderOf({ ...seen, sourceAgent: frozen }).options?.strategy).to.equal('full');
  });

  it('does not listen for a source that takes everything through storage', () => {
    const migration = given.migration({ status: doneUpTo('TargetPrepared'), spec: { strategy: 'lazy-storage' } });
    expect(orderOf({ ...world(prepared), migration }).direct).to.equal(undefined);
    const told = plan({ ...world({ ...prepared, targetAgent: view(quiet) }), migration }, startMs).status;
    expect(told.conditions?.find((each) => each.type === 'Warmed')?.reason).to.equal('NotListening');
  });

  it('looks again in time at a target that does not answer', () => {
    const { wakeAfterMs } = plan(world({ ...prepared, status: warming }), startMs + 4_000);
    expect(wakeAfterMs).to.equal(1_000);
  });

  it('records what the copying took', () => {
    const transfer = { ...given.noTransfer, rounds: 3, timeline: [{ step: 'round', ms: 7 }] };
    const source = view(word(APP_PHASE_RUNNING, ORDER_KIND_PRECOPY, DONE, { transfer }));
    const { status } = plan(world({ ...isWarm, sourceAgent: source }), startMs);
    expect(status.timeline?.map((entry) => entry.step)).to.deep.equal(['PreCopied', 'PreCopied.round', 'Frozen']);
    expect(status.conditions?.find((each) => each.type === 'PreCopied')?.message).to.contain('3 times');
  });

  it('records what the drain cost', () => {
    const lazy = {
      drainMs: 900,
      faults: 4n,
      faultPages: 5n,
      stallP50Us: 100,
      stallP95Us: 200,
      stallP99Us: 300,
      stallMaxUs: 400,
      aheadHits: 3n,
      aheadMisses: 1n,
      directFaults: 2n,
      hotPages: 5n,
    };
    const transfer = { ...given.noTransfer, lazy };
    const targetAgent = view(word(APP_PHASE_RUNNING, ORDER_KIND_CONTINUE, DONE, { transfer }));
    const { status } = plan(
      world({ status: doneUpTo('CutOver'), source: undefined, target: adopted, targetAgent }),
      startMs,
    );
    expect(status.phase).to.equal('Succeeded');
    expect(status.drain).to.deep.equal({
      ms: 900,
      faults: 4,
      stallP50Us: 100,
      stallP95Us: 200,
      stallP99Us: 300,
      stallMaxUs: 400,
      directFaults: 2,
      hitPercent: 75,
      hotPages: 5,
    });
  });
});
