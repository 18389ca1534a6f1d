import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import { problemsOf, resolvePolicy, type PolicySources } from '../../../../operator/policy/resolve.ts';

/** Each level says something else; the first of those present must win. */
const levels: readonly { readonly name: string; readonly part: Partial<PolicySources>; readonly says: unknown[] }[] = [
  {
    name: 'pod annotation',
    part: {
      podAnnotations: {
        [annotations.interval]: '10s',
        [annotations.strategy]: 'full',
        [annotations.migrationTimeout]: '10',
      },
    },
    says: [10_000, 'full', 10],
  },
  {
    name: 'MigratableApp',
    part: {
      app: {
        place: 'MigratableApp ns/web',
        spec: {
          checkpointPolicy: { interval: '20s' },
          migrationPolicy: { strategy: 'lazy-storage', migrationTimeoutSeconds: 20 },
        },
      },
    },
    says: [20_000, 'lazy-storage', 20],
  },
  {
    name: 'ConfigMap',
    part: {
      config: {
        place: 'ConfigMap ns/policy',
        data: { interval: '1m30s', strategy: 'lazy-direct', migrationTimeoutSeconds: '30' },
      },
    },
    says: [90_000, 'lazy-direct', 30],
  },
  {
    name: 'migration-defaults',
    part: {
      defaults: {
        place: 'ConfigMap migration-system/migration-defaults',
        data: { interval: '1h', strategy: 'lazy-storage', migrationTimeoutSeconds: '40' },
      },
    },
    says: [3_600_000, 'lazy-storage', 40],
  },
  { name: 'built in', part: {}, says: [0, 'lazy-hybrid', 300] },
];

const nothing: PolicySources = { podAnnotations: {}, app: undefined, config: undefined, defaults: undefined };

function said(sources: PolicySources): unknown[] {
  return Object.values(resolvePolicy(sources)).map((setting: { isValid: boolean; value?: unknown }) => setting.value);
}

describe('policy resolution', () => {
  for (const [i, level] of levels.entries()) {
    it(`${level.name} wins over all that come after it`, () => {
      const sources = levels.slice(i).reduce((all, { part }) => ({ ...all, ...part }), nothing);
      expect(said(sources)).to.deep.equal(level.says);
    });
  }

  it('each setting is looked for by itself', () => {
    const policy = resolvePolicy({
      ...nothing,
      podAnnotations: { [annotations.strategy]: 'full' },
      app: { place: 'MigratableApp ns/web', spec: { checkpointPolicy: { interval: '30s' } } },
      defaults: { place: 'ConfigMap migration-system/migration-defaults', data: { migrationTimeoutSeconds: '60' } },
    });
    expect(Object.values(policy).map((setting: { place?: string }) => setting.place)).to.deep.equal([
      'MigratableApp ns/web: interval',
      `annotation ${annotations.strategy}`,
      'ConfigMap migration-system/migration-defaults: migrationTimeoutSeconds',
    ]);
  });

  it('0s switches off what a later place asks for', () => {
    const off = { podAnnotations: { [annotations.interval]: '0s' } };
    expect(said({ ...nothing, ...levels[1]?.part, ...off })[0]).to.equal(0);
  });

  const wrong: readonly { readonly name: string; readonly part: Partial<PolicySources>; readonly named: string }[] = [
    ...['', '30', 's', '-5s', '1s', '4s', '31m4', '999h', '30S', '1d'].map((text) => ({
      name: `an interval of "${text}"`,
      part: { podAnnotations: { [annotations.interval]: text } },
      named: `annotation ${annotations.interval}: "${text}" is not a duration`,
    })),
    {
      name: 'a strategy in a ConfigMap',
      part: { config: { place: 'ConfigMap ns/policy', data: { strategy: 'eager' } } },
      named: 'ConfigMap ns/policy: strategy: "eager" is not one of full, ',
    },
    {
      name: 'an interval in a MigratableApp',
      part: { app: { place: 'MigratableApp ns/web', spec: { checkpointPolicy: { interval: '1s' } } } },
      named: 'MigratableApp ns/web: interval: "1s" is not a duration',
    },
    {
      name: 'a timeout in migration-defaults',
      part: {
        defaults: { place: 'ConfigMap migration-system/migration-defaults', data: { migrationTimeoutSeconds: '4' } },
      },
      named: 'ConfigMap migration-system/migration-defaults: migrationTimeoutSeconds: "4" is not a number of seconds',
    },
    {
      name: 'a ConfigMap that is not there',
      part: { config: { place: 'ConfigMap ns/policy', data: undefined } },
      named: 'ConfigMap ns/policy does not exist',
    },
  ];
  for (const { name, part, named } of wrong) {
    it(`${name} is named, and no later place is asked`, () => {
      const later = levels.slice(3).reduce((all, level) => ({ ...all, ...level.part }), nothing);
      const problems = problemsOf(resolvePolicy({ ...later, ...part }));
      expect(problems[0]).to.contain(named);
    });
  }

  it('a value that is wrong in a place nobody asks does no harm', () => {
    const app = { place: 'MigratableApp ns/web', spec: { checkpointPolicy: { interval: '30s' } } };
    const config = { place: 'ConfigMap ns/policy', data: { interval: 'often' } };
    expect(resolvePolicy({ ...nothing, app, config }).intervalMs).to.include({ isValid: true, value: 30_000 });
  });
});
