import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import { array, assert, constantFrom, oneof, property } from 'fast-check';
import { isTrue } from '../../../../operator/migration/conditions.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import { happenings, Simulation, type Happening } from './simulation.ts';

/** Work is much more frequent than trouble, so that trouble meets every step. */
const work: readonly Happening[] = happenings.slice(0, 7);
const trouble: readonly Happening[] = happenings.slice(7);
const story = array(
  oneof({ weight: 40, arbitrary: constantFrom(...work) }, { weight: 1, arbitrary: constantFrom(...trouble) }),
  { minLength: 20, maxLength: 250, size: 'max' },
);

describe('operator/migration/plan: in any world', function () {
  this.timeout(60_000);

  it('moves the process when nothing goes wrong', () => {
    const world = new Simulation();
    world.settle();
    const status = world.migration?.status;
    expect(world.broken).to.deep.equal([]);
    expect(status?.phase).to.equal('Succeeded');
    expect(world.source).to.equal(undefined);
    expect(world.isRunning(world.targetAgent, world.target)).to.equal(true);
    expect(status?.timeline?.map((entry) => entry.step)).to.include.members(['Accepted', 'Frozen', 'CutOver']);
    expect(status?.downtimeMs).to.be.a('number');
  });

  it('keeps its promises at every moment', () => {
    assert(
      property(story, (happened) => {
        const world = new Simulation();
        for (const each of happened) world.step(each);
        expect(world.broken).to.deep.equal([]);
      }),
      { numRuns: 3_000 },
    );
  });

  it('always comes to an end, and the end is one of the two good ones', () => {
    assert(
      property(story, (happened) => {
        const world = new Simulation();
        for (const each of happened) world.step(each);
        world.settle();
        expect(world.isOver(), 'over').to.equal(true);
        expect(world.broken).to.deep.equal([]);
        const status = world.migration?.status;
        if (status === undefined) return;
        if (isTrue(status, 'Succeeded')) {
          expect(world.source, 'source').to.equal(undefined);
        } else if (isTrue(status, 'Committed')) {
          expect(world.source, 'a source that will not be continued').to.equal(undefined);
        } else {
          expect(world.target, 'left over target').to.equal(undefined);
          const isRunning = world.isRunning(world.sourceAgent, world.source);
          expect(isRunning || world.source === undefined, 'the source runs').to.equal(true);
          expect(status.failure?.code).to.be.a('string');
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('asks for the same when asked twice, and its own status changes nothing more at the same moment', () => {
    assert(
      property(story, (happened) => {
        const world = new Simulation();
        for (const each of happened) world.step(each);
        const seen = world.world();
        if (seen === undefined) return;
        const first = plan(seen, world.nowMs);
        expect(plan(seen, world.nowMs)).to.deep.equal(first);
        if (first.wakeAfterMs === 0 || first.actions.length > 0) return;
        const stored = { ...seen, migration: { ...seen.migration, status: first.status } };
        expect(isDeepStrictEqual(plan(stored, world.nowMs).status, first.status)).to.equal(true);
      }),
      { numRuns: 500 },
    );
  });
});
