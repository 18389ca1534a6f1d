import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { modeNames, strategies } from '../../../proto/migration.ts';
import { annotations } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { distanceBetween, faultsOf, type Place, rules } from '../../../webhook/annotations.ts';
import { deployment, type Json, patchIn, reviewOf, settings } from './support/samples.ts';

describe('annotation rules', () => {
  it('know every annotation of ours', () => {
    expect(Object.keys(rules)).to.have.members(Object.values(annotations));
  });

  it('say what the README says', () => {
    const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
    for (const name of Object.keys(rules)) expect(readme).to.contain(`\`${name}`);
    for (const value of [...strategies, ...modeNames]) expect(readme).to.contain(`\`${value}\``);
  });

  interface Value {
    readonly name: string;
    readonly place?: Place;
    readonly good: readonly string[];
    readonly bad: readonly string[];
    readonly says: RegExp;
    readonly consequence: 'skip' | 'warning';
  }
  const values: readonly Value[] = [
    {
      name: annotations.enabled,
      good: ['true', 'false'],
      bad: ['', 'yes', 'True', 'true ', '1'],
      says: /allowed: "true" or "false"/,
      consequence: 'skip',
    },
    {
      name: annotations.container,
      good: ['app', 'a', '0', 'a-b', 'x'.repeat(63)],
      bad: ['', 'App', '-a', 'a_b', 'a,b', 'x'.repeat(64), 'app\n'],
      says: /allowed: the name of a container/,
      consequence: 'skip',
    },
    {
      name: annotations.agentImage,
      good: ['agent', 'registry.example:5000/podferry/agent:1', `agent@sha256:${'a'.repeat(64)}`],
      bad: ['', 'an image', 'image;rm', 'x'.repeat(513)],
      says: /allowed: the name of an image/,
      consequence: 'skip',
    },
    {
      name: annotations.strategy,
      good: strategies,
      bad: ['', 'lazy', 'Full'],
      says: /allowed: "full", "lazy-storage", "lazy-direct" or "lazy-hybrid"/,
      consequence: 'warning',
    },
    {
      name: annotations.mode,
      good: modeNames,
      bad: ['fast', 'async', '+ async'],
      says: /"baseline", "\+async"/,
      consequence: 'warning',
    },
    {
      name: annotations.logUpload,
      good: ['true', 'false'],
      bad: ['on', ''],
      says: /"true" or "false"/,
      consequence: 'warning',
    },
    {
      name: annotations.remedies,
      good: ['auto', 'none'],
      bad: ['', 'true', 'Auto'],
      says: /allowed: "auto" or "none"/,
      consequence: 'skip',
    },
    {
      name: annotations.interval,
      good: ['5s', '30s', '1h30m', '720h', '0s'],
      bad: ['', '30', '4s', '721h', 's', '1d'],
      says: /allowed: from "5s" to "720h", or "0s"/,
      consequence: 'warning',
    },
    {
      name: annotations.migrationTimeout,
      good: ['5', '300'],
      bad: ['', '0', '5s', '-1'],
      says: /allowed: a number of seconds/,
      consequence: 'warning',
    },
    {
      name: annotations.config,
      good: ['policy', 'policy.v2'],
      bad: ['', 'Policy', 'a b'],
      says: /allowed: the name of a ConfigMap/,
      consequence: 'warning',
    },
    {
      name: annotations.trigger,
      place: 'pod',
      good: ['requested'],
      bad: ['true', ''],
      says: /allowed: "requested"/,
      consequence: 'warning',
    },
    {
      name: annotations.targetNode,
      place: 'pod',
      good: ['n1', 'ip-10-0-0-1.ec2.internal'],
      bad: ['', 'N1', 'n 1', '-n1'],
      says: /the name of a node/,
      consequence: 'warning',
    },
    {
      name: annotations.reason,
      place: 'pod',
      good: ['', 'maintenance, "soon"\n'],
      bad: [],
      says: /./,
      consequence: 'warning',
    },
  ];
  for (const { name, place = 'template', good, bad, says, consequence } of values) {
    for (const value of good) {
      it(`${name} may be ${JSON.stringify(value)}`, () => expect(faultsOf({ [name]: value }, place)).to.deep.equal([]));
    }
    for (const value of bad) {
      it(`${name} may not be ${JSON.stringify(value)}: ${consequence}`, () => {
        const [fault, ...others] = faultsOf({ [name]: value }, place);
        expect(others).to.deep.equal([]);
        expect(fault).to.include({ name, code: 'ANNOTATION_INVALID', consequence });
        expect(fault?.message).to.match(says);
      });
    }
  }

  const misplaced: readonly (readonly [string, Place, 'skip' | 'warning'])[] = [
    [annotations.strategy, 'workload', 'warning'],
    [annotations.trigger, 'template', 'warning'],
    [annotations.targetNode, 'workload', 'warning'],
    [annotations.original, 'workload', 'warning'],
    [annotations.restore, 'workload', 'warning'],
    [annotations.restore, 'template', 'skip'],
    [annotations.instance, 'template', 'skip'],
    [annotations.generation, 'template', 'skip'],
    [annotations.started, 'template', 'skip'],
    [annotations.replicaSet, 'template', 'skip'],
  ];
  for (const [name, place, consequence] of misplaced) {
    it(`${name} does not belong on a ${place}: ${consequence}`, () => {
      const [fault] = faultsOf({ [name]: 'requested' }, place);
      expect(fault).to.include({ code: 'ANNOTATION_MISPLACED', consequence });
      expect(fault?.message).to.match(/its place is a pod/);
    });
  }

  const names: readonly (readonly [string, string | undefined])[] = [
    ['migration.io/enable', annotations.enabled],
    ['migration.io/enabeld', annotations.enabled],
    ['migration.io/Enabled', annotations.enabled],
    ['migration.io/containers', annotations.container],
    ['migration.io/agentimage', annotations.agentImage],
    ['migration.io/log_upload', annotations.logUpload],
    ['migration.io/stratgey', annotations.strategy],
    ['migration.io/tiger', annotations.trigger],
    ['migration.io/team', undefined],
    ['migration.io/', undefined],
    ['example.com/enable', undefined],
    ['enabled', undefined],
    ['migration.io/toString', undefined],
    ['__proto__', undefined],
  ];
  for (const [name, meant] of names) {
    it(`takes ${name} for ${meant ?? 'nothing of ours'}`, () => {
      const faults = faultsOf(Object.fromEntries([[name, 'true']]), 'workload');
      expect(faults.map(({ code }) => code)).to.deep.equal(meant === undefined ? [] : ['ANNOTATION_UNKNOWN']);
      if (meant !== undefined) expect(faults[0]?.message).to.contain(`is ${meant} meant?`);
    });
  }

  it('look at the spelling of some names only, and at every value of ours', () => {
    const many = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`migration.io/enable${index % 10}${index}`, '']),
    );
    const near = Object.fromEntries(
      Array.from({ length: 26 }, (_, index) => [`migration.io/enable${String.fromCodePoint(97 + index)}`, '']),
    );
    expect(faultsOf({ ...many, ...near, [annotations.mode]: 'x' }, 'template').map(({ name }) => name)).to.include(
      annotations.mode,
    );
    expect(faultsOf(near, 'template').filter(({ code }) => code === 'ANNOTATION_UNKNOWN')).to.have.length(20);
  });

  it('measure the distance of two words as it is defined', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 6 }), fc.string({ maxLength: 6 }), (one, other) => {
        const expected = slowDistance(one, other);
        if (expected <= 2) expect(distanceBetween(one, other)).to.equal(expected);
        else expect(distanceBetween(one, other)).to.be.greaterThan(2);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

function slowDistance(one: string, other: string): number {
  if (one === '' || other === '') return one.length + other.length;
  const [first, second] = [one.slice(1), other.slice(1)];
  if (one[0] === other[0]) return slowDistance(first, second);
  return 1 + Math.min(slowDistance(first, second), slowDistance(one, second), slowDistance(first, other));
}

describe('annotations at admission', () => {
  const pod = { containers: [{ name: 'app', command: ['/app'] }] };
  const asked = (workload: Readonly<Record<string, string>>, template: Readonly<Record<string, string>> = {}): Json => {
    const object = deployment(pod, workload);
    (object['spec'] as { template: { metadata: Json } }).template.metadata['annotations'] = template;
    return object;
  };
  const on = { [annotations.enabled]: 'true' };

  interface Case {
    readonly name: string;
    readonly object: Json;
    readonly outcome: string;
    readonly warns: readonly RegExp[];
  }
  const cases: readonly Case[] = [
    {
      name: 'a bad strategy: injected with a warning',
      object: asked(on, { [annotations.strategy]: 'lazy' }),
      outcome: 'injected',
      warns: [/^podferry: ANNOTATION_INVALID: .*strategy is "lazy"/],
    },
    {
      name: 'several faults: a warning each',
      object: asked(
        { ...on, 'migration.io/contaner': 'app' },
        { [annotations.mode]: 'x', [annotations.logUpload]: 'y' },
      ),
      outcome: 'injected',
      warns: [/contaner/, /mode is "x"/, /log-upload is "y"/],
    },
    {
      name: 'a bad container: skipped',
      object: asked({ ...on, [annotations.container]: 'My App' }),
      outcome: 'skipped',
      warns: [/container is "My App"/],
    },
    {
      name: 'a bad value that the template overrules',
      object: asked({ ...on, [annotations.container]: 'My App' }, { [annotations.container]: 'app' }),
      outcome: 'injected',
      warns: [],
    },
    {
      name: 'the name of a move on the template: skipped, for its pods would wait for ever',
      object: asked(on, { [annotations.restore]: 'uid' }),
      outcome: 'skipped',
      warns: [/ANNOTATION_MISPLACED: .*restore/],
    },
    {
      name: 'an opt-in that is misspelt',
      object: asked({ 'migration.io/enable': 'true' }),
      outcome: 'unchanged',
      warns: [/ANNOTATION_UNKNOWN: migration\.io\/enable is unknown; is migration\.io\/enabled meant\?/],
    },
    {
      name: 'bad values of a workload that did not opt in',
      object: asked({ [annotations.agentImage]: 'an image' }, { [annotations.strategy]: 'lazy' }),
      outcome: 'unchanged',
      warns: [],
    },
    {
      name: 'faults of a workload that opted out',
      object: asked({ [annotations.enabled]: 'false', 'migration.io/enable': 'true', [annotations.container]: 'A' }),
      outcome: 'unchanged',
      warns: [],
    },
  ];
  for (const { name, object, outcome, warns } of cases) {
    it(name, () => {
      const answer = review(reviewOf(object), settings);
      expect(answer.outcome).to.equal(outcome);
      expect(patchIn(answer).length > 0).to.equal(outcome === 'injected');
      const warnings = answer.review.response.warnings ?? [];
      expect(warnings).to.have.length(warns.length);
      for (const [index, pattern] of warns.entries()) expect(warnings[index]).to.match(pattern);
    });
  }
});
