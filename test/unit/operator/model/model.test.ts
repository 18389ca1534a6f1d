import { expect } from 'chai';
import { check, type Outcome } from './check.ts';
import { mutants, real } from './mutants.ts';
import type { Bounds } from './reduce.ts';

const base: Bounds = {
  faults: 0,
  moves: 1,
  leftovers: [],
  reports: 1,
  isLedByTwo: false,
  oldLooks: 1,
  maxStates: 200_000,
};

/** hack/model.sh goes further. */
const explorations: readonly { readonly name: string; readonly bounds: Partial<Bounds> }[] = [
  { name: 'nothing goes wrong but time, and the user tries twice', bounds: { moves: 2 } },
  {
    name: 'a second try, with orders of the first still on their way',
    bounds: { leftovers: ['CHECKPOINT', 'RESUME'] },
  },
  { name: 'a second try, with a report of the first still on its way', bounds: { leftovers: ['report'] } },
  { name: 'any one fault', bounds: { faults: 1 } },
];

describe('operator/model: all interleavings of a move', function () {
  this.timeout(300_000);

  for (const { name, bounds } of explorations) {
    it(`${name}: no promise is broken, and every Migration ends`, () => {
      const { explored, problem } = check(real, { ...base, ...bounds });
      console.log(`      ${explored.states} states, ${explored.transitions} transitions, depth ${explored.depth}`);
      expect(problemText(problem)).to.equal('');
      expect(explored.isComplete).to.equal(true);
    });
  }

  describe('finds the mistake', () => {
    for (const { name, rules, bounds, breaks } of mutants) {
      it(name, () => {
        const { problem } = check(rules, { ...base, ...bounds });
        expect(problem?.promise, problemText(problem)).to.equal(breaks);
        expect(problem?.trace.length).to.be.greaterThan(0);
      });
    }
  });
});

function problemText(problem: Outcome['problem']): string {
  return problem === undefined ? '' : [problem.promise, ...problem.trace].join('\n  ');
}
