import { expect } from 'chai';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import { plan, planRefused } from '../../../../operator/migration/plan.ts';
import type { World } from '../../../../operator/migration/world.ts';
import * as given from '../../../fakes/operator-objects.ts';
import {
  continued,
  doneUpTo,
  failure,
  frozen,
  startMs,
  target,
  waiting,
  wordsOf,
  world,
} from '../../../fakes/migration-worlds.ts';

describe('operator/migration/plan', () => {
  it('gives an order what its agent needs: until when, and which checkpoint', () => {
    const prepared = { status: doneUpTo('PreCopied'), target: target(), targetAgent: waiting };
    const [checkpoint] = plan(world(prepared), startMs + 10_000).actions;
    expect(checkpoint).to.deep.include({ kind: 'SendOrder', podUid: given.sourceUid });
    if (checkpoint?.kind !== 'SendOrder') throw new Error('no order');
    expect(checkpoint.order).to.deep.include({ migrationUid: given.migrationUid, attempt: 1, timeoutMs: 50_000 });
    expect(checkpoint.order.checkpoint?.id).to.equal('g1-abcdef01');
    const [restore] = plan(world({ ...prepared, sourceAgent: frozen }), startMs).actions;
    if (restore?.kind !== 'SendOrder') throw new Error('no order');
    expect(restore.order.checkpoint).to.deep.equal(given.checkpointRef);
  });

  const downtimes = [
    { name: 'from the first stopped thread', freezeMs: 60, expected: 310 },
    { name: 'or, when that is not known, from the order to freeze', freezeMs: 0, expected: 350 },
    { name: 'and never from before that order, whatever a clock says', freezeMs: 5_000, expected: 350 },
  ];
  for (const { name, freezeMs, expected } of downtimes) {
    it(`records the downtime until the first word that the target runs, ${name}`, () => {
      const began = new Date(startMs + 1_000).toISOString();
      const checkpoint = { ...given.checkpointRef, pageBytes: 1, storedBytes: 1, fileBytes: 0, freezeMs };
      const timeline = [{ step: 'Frozen', startedAt: began, ms: 100 }];
      const status = doneUpTo('Committed', { timeline, checkpoint });
      const runs = { ...continued, phaseSinceMs: startMs + 1_350 };
      const next = plan(world({ status, target: target(), targetAgent: runs, sourceAgent: frozen }), startMs + 9_000);
      expect(next.status.downtimeMs).to.equal(expected);
    });
  }

  it('tells of a step that takes long after the commit, and goes on', () => {
    const waitingSince = plan(
      world({ status: doneUpTo('Committed'), target: target(), targetAgent: continued }),
      startMs,
    );
    const later = plan(
      world({ status: waitingSince.status, target: target(), targetAgent: continued }),
      startMs + 61_000,
    );
    expect(later.status.conditions?.find((each) => each.type === 'Verified')?.reason).to.equal('Overdue');
    expect(later.status.failure).to.equal(undefined);
  });

  describe('when it is finished', () => {
    const at = new Date(startMs).toISOString();
    const outcome = {
      status: 'True',
      reason: 'Moved',
      message: '',
      lastTransitionTime: at,
      observedGeneration: 1,
    } as const;
    const status: MigrationStatus = { completedAt: at, conditions: [{ type: 'Succeeded', ...outcome }] };
    const tidy = (ttl?: number): World => ({
      ...world(),
      migration: given.migration({
        status,
        metadata: { finalizers: [] },
        ...(ttl === undefined ? {} : { spec: { ttlSecondsAfterFinished: ttl } }),
      }),
    });

    it('takes its finalizer off and does nothing more', () => {
      expect(wordsOf(plan(world({ status }), startMs).actions)).to.deep.equal(['RemoveFinalizer']);
      expect(plan(tidy(), startMs + 1e9)).to.deep.equal({ actions: [], status });
    });
    it('goes after its time to live, and not before', () => {
      expect(plan(tidy(10), startMs + 4_000)).to.deep.equal({ actions: [], status, wakeAfterMs: 6_000 });
      expect(wordsOf(plan(tidy(10), startMs + 10_000).actions)).to.deep.equal(['DeleteMigration']);
    });
  });

  describe('when the API server refuses an action for good', () => {
    it('fails before the commit', () => {
      const refused = planRefused(world({ status: doneUpTo('Accepted') }), 'TARGET_NOT_READY', 'quota', startMs);
      expect(refused?.status.failure).to.deep.equal({ code: 'TARGET_NOT_READY', message: 'quota' });
    });
    for (const status of [doneUpTo('Committed'), doneUpTo('Accepted', { failure })]) {
      it(`has no other way ${status.failure === undefined ? 'after the commit' : 'on the way back'}`, () => {
        expect(planRefused(world({ status }), 'TARGET_NOT_READY', 'quota', startMs)).to.equal(undefined);
      });
    }
  });
});
