import { expect } from 'chai';
import { assert, integer, property, uuid } from 'fast-check';
import { labels } from '../../../../proto/names.ts';
import { planSchedule, type ScheduleInput } from '../../../../operator/checkpoint/schedule.ts';
import { checkpoint, startMs } from '../../../fakes/checkpoint-worlds.ts';
import { pod } from '../../../fakes/operator-objects.ts';

const intervalMs = 30_000;
const every = (value: number) => ({ isValid: true, value, place: 'here' }) as const;

function input(change: Partial<ScheduleInput> = {}): ScheduleInput {
  return { pod: pod(), intervalMs: every(intervalMs), isRunning: true, isMoving: false, existing: [], ...change };
}

const taken = (atMs: number) =>
  checkpoint(
    {
      conditions: [
        {
          type: 'Completed',
          status: 'True',
          reason: 'Stored',
          message: 'm',
          lastTransitionTime: '',
          observedGeneration: 1,
        },
      ],
    },
    { creationTimestamp: new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z') },
  );

describe('operator/checkpoint/schedule', () => {
  const cases: readonly { readonly name: string; readonly change: Partial<ScheduleInput>; readonly isDue: boolean }[] =
    [
      { name: 'one is due when there is none', change: {}, isDue: true },
      { name: 'none with an interval of 0', change: { intervalMs: every(0) }, isDue: false },
      { name: 'none while the application does not run', change: { isRunning: false }, isDue: false },
      { name: 'none while the pod moves', change: { isMoving: true }, isDue: false },
      {
        name: 'none while another is under way, however long',
        change: { existing: [checkpoint({}, { creationTimestamp: '2020-01-01T00:00:00Z' })] },
        isDue: false,
      },
      {
        name: 'one when the last is of an interval before',
        change: { existing: [taken(startMs - intervalMs)] },
        isDue: true,
      },
      {
        name: 'none of a pod that has just been made',
        change: { pod: pod({ metadata: { creationTimestamp: new Date(startMs).toISOString() } }) },
        isDue: false,
      },
      {
        name: 'none of a pod that is ending',
        change: { pod: pod({ metadata: { deletionTimestamp: new Date(startMs).toISOString() } }) },
        isDue: false,
      },
    ];
  for (const { name, change, isDue } of cases) {
    it(name, () => expect(planSchedule(input(change), startMs).create !== undefined).to.equal(isDue));
  }

  it('a policy that means nothing is told, and nothing is taken', () => {
    const next = planSchedule(input({ intervalMs: { isValid: false, message: 'here: "often"' } }), startMs);
    expect(next).to.include({ invalid: 'here: "often"' }).and.not.have.property('create');
  });

  it('names it by pod and interval, so that a repetition after a crash meets what it has made', () => {
    const [first, second] = [startMs, startMs + 1].map((nowMs) => planSchedule(input(), nowMs).create);
    expect(second).to.deep.equal(first);
    expect(first?.labels).to.deep.equal({ [labels.intervalOf]: pod().metadata.uid });
  });

  it('takes one in each interval, however often it looks, and never two in one', () => {
    assert(
      property(
        uuid(),
        integer({ min: 5_000, max: 3_600_000 }),
        integer({ min: 100, max: 20_000 }),
        (uid, value, lookMs) => {
          const made: number[] = [];
          const own = pod({ metadata: { uid } });
          const endMs = startMs + 20 * value;
          for (let nowMs = startMs, looks = 0; nowMs < endMs && looks < 400; looks += 1) {
            const existing = made.map(taken);
            const next = planSchedule(input({ pod: own, intervalMs: every(value), existing }), nowMs);
            if (next.create !== undefined) made.push(nowMs);
            nowMs += Math.min(lookMs, next.wakeAfterMs);
          }
          for (const [i, atMs] of made.slice(1).entries()) {
            expect(atMs - (made[i] ?? 0)).to.be.greaterThan(0);
            if (i > 0) expect(atMs - (made[i] ?? 0)).to.be.within(value - 1_000, value + 1_000);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('replicas have moments of their own', () => {
    const uids = Array.from({ length: 20 }, (_, i) => `${i}-replica`);
    const moments = uids.map((uid) => {
      const own = pod({ metadata: { uid } });
      const { wakeAfterMs } = planSchedule(input({ pod: own, existing: [] }), startMs);
      return Math.floor((wakeAfterMs / intervalMs) * 10);
    });
    expect(new Set(moments).size).to.be.greaterThan(5);
  });
});
