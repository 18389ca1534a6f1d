import { expect } from 'chai';
import { moveOptionsOf } from '../../../../operator/migration/options.ts';
import { MigrationSpec, modeNames, modes, switches } from '../../../../proto/migration.ts';

const offOf = (options: unknown): readonly string[] =>
  moveOptionsOf(MigrationSpec.parse({ podName: 'web', options })).off;

describe('operator/migration/options', () => {
  it('switches nothing off unless told', () => {
    expect(moveOptionsOf(MigrationSpec.parse({ podName: 'web' }))).to.deep.equal({
      strategy: 'lazy-hybrid',
      freezeBudgetMs: 0,
      off: [],
      logUpload: false,
    });
    expect(offOf({ mode: 'full' })).to.deep.equal([]);
  });

  it('has modes of which each leaves off a part of what the one before does', () => {
    for (const [i, mode] of modeNames.entries()) {
      expect(offOf({ mode })).to.have.members(modes[mode]);
      const before = modeNames[i - 1];
      if (before !== undefined) expect(modes[before]).to.include.members([...modes[mode]]);
    }
    expect(new Set(modeNames.map((mode) => modes[mode].length)).size).to.equal(modeNames.length);
  });

  for (const each of switches) {
    it(`switches ${each} off by itself, whatever the mode`, () => {
      expect(offOf({ off: [each, each] })).to.deep.equal([each]);
      expect(offOf({ mode: 'baseline', off: [each] })).to.have.members([...new Set([...modes.baseline, each])]);
    });
  }

  it('tells the agents to keep logs', () => {
    expect(moveOptionsOf(MigrationSpec.parse({ podName: 'web', options: { logUpload: true } })).logUpload).to.equal(
      true,
    );
  });
});
