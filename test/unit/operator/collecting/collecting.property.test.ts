import { expect } from 'chai';
import { array, assert, asyncProperty, constantFrom, nat, oneof, record, tuple, type Arbitrary } from 'fast-check';
import { CollectingWorld, happenings, ttlMs, type Happening } from './collecting-world.ts';

const happening: Arbitrary<Happening> = tuple(constantFrom(...happenings), nat(ttlMs));
const quiet: Arbitrary<Happening> = tuple(constantFrom<Happening[0]>('nothing'), nat(0));
const round = record({
  during: array(oneof({ weight: 2, arbitrary: quiet }, { weight: 1, arbitrary: happening }), {
    maxLength: 40,
    size: 'max',
  }),
  limits: record({ pages: nat(30), deletes: nat(5) }),
});
const story = array(
  oneof(
    { weight: 8, arbitrary: happening },
    { weight: 2, arbitrary: tuple(constantFrom<Happening[0]>('born', 'gone', 'long time passes'), nat(ttlMs)) },
    { weight: 2, arbitrary: round },
  ),
  { minLength: 5, maxLength: 60, size: 'max' },
);

describe('operator/collecting: in any history', function () {
  this.timeout(60_000);

  it('removes nothing of who lives or moves, leaves no manifest without its packs, and in the end nothing of who is gone', async () => {
    let removedWhole = 0;
    await assert(
      asyncProperty(story, async (parts) => {
        const world = new CollectingWorld();
        for (const part of parts) {
          if ('during' in part) await world.collect(part.during, part.limits);
          else world.happen(part);
          expect(world.broken).to.deep.equal([]);
        }
        const before = new Map(world.instances.map(({ keyPrefix }) => [keyPrefix, world.store.below(keyPrefix)]));
        await world.settle();
        expect(world.broken).to.deep.equal([]);
        for (const { keyPrefix, livesSince } of world.instances) {
          const foreign = [`${keyPrefix}notes-of-somebody.txt`];
          const left = livesSince === undefined ? foreign : before.get(keyPrefix);
          expect(world.store.below(keyPrefix), keyPrefix).to.deep.equal(left);
          if (livesSince === undefined) removedWhole += 1;
        }
      }),
      { numRuns: 300 },
    );
    expect(removedWhole, 'instances that were removed').to.be.greaterThan(100);
  });
});
