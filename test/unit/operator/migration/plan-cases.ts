import { expect } from 'chai';
import { isTrue } from '../../../../operator/migration/conditions.ts';
import { plan } from '../../../../operator/migration/plan.ts';
import { startMs, wordsOf, type Case } from '../../../fakes/migration-worlds.ts';

/** Plans each world and looks at what the case says. */
export function planCases(cases: readonly Case[]): void {
  for (const c of cases) {
    it(c.name, () => {
      const { actions, status } = plan(c.world, startMs + (c.afterMs ?? 0));
      if (c.actions !== undefined) expect(wordsOf(actions)).to.deep.equal(c.actions);
      if (c.phase !== undefined) expect(status.phase).to.equal(c.phase);
      if (c.failure !== undefined) expect(status.failure?.code).to.equal(c.failure);
      if (c.isTrue !== undefined) expect(isTrue(status, c.isTrue), c.isTrue).to.equal(true);
      if (c.isNotTrue !== undefined) expect(isTrue(status, c.isNotTrue), c.isNotTrue).to.equal(false);
    });
  }
}
