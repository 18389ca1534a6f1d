import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { annotations } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { eject, isInjected, isWhole } from '../../../webhook/eject.ts';
import type { Options } from '../../../webhook/eligibility.ts';
import { inject } from '../../../webhook/inject.ts';
import { isPodTemplate, type PodTemplate } from '../../../webhook/pod-template.ts';
import { deployment, patchIn, reviewOf, settings } from './support/samples.ts';
import { template } from './support/templates.ts';

const enabled: Options = { enabled: true };
const withRemedies: Options = { ...enabled, remedies: 'auto' };

/** Only what inject accepts; how many that are is asserted, so that the properties are not empty. */
function injectedOf(given: unknown, options: Options): PodTemplate | undefined {
  if (!isPodTemplate(given)) return undefined;
  const result = inject(given, options, settings);
  return result.injected ? result.template : undefined;
}

describe('inject and eject', function () {
  this.timeout(60_000);

  it('is reversible, idempotent and whole, and leaves its input alone', () => {
    let injections = 0;
    fc.assert(
      fc.property(template, fc.constantFrom(enabled, withRemedies), (given, options) => {
        const before = structuredClone(given);
        const injected = injectedOf(given, options);
        expect(isDeepStrictEqual(given, before)).to.equal(true);
        if (injected === undefined) return;
        injections += 1;
        expect(isWhole(injected)).to.equal(true);
        const again = inject(injected, options, settings);
        expect(again).to.deep.equal({ injected: true, template: injected });
        expect(eject(injected)).to.deep.equal({ ejected: true, template: given });
      }),
      { seed: 1, numRuns: 1000 },
    );
    expect(injections).to.be.greaterThan(100);
  });

  it('answers any JSON as object and never fails inside', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.boolean(), (object, old, isCreate) => {
        const wrapped = { metadata: { annotations: { [annotations.enabled]: 'true' } }, spec: { template: object } };
        for (const given of [object, wrapped]) {
          const answer = review(reviewOf(given, isCreate ? undefined : old), settings);
          expect(answer.outcome).to.not.equal('failed');
          expect(answer.review.response.allowed).to.equal(true);
        }
      }),
      { seed: 1, numRuns: 1000 },
    );
  });

  it('survives any damage to what was injected, and what is then injected is whole', () => {
    const given = {
      metadata: { annotations: { team: 'a' } },
      spec: { containers: [{ name: 'app', command: ['/app'], env: [{ name: 'GODEBUG', value: 'a=1' }] }] },
    };
    const injected = injectedOf(given, withRemedies);
    expect(injected).to.not.equal(undefined);
    const places = pathsOf(injected);
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.option(fc.jsonValue(), { nil: undefined }), (path, value) => {
        const damaged = changed(injected, path, value);
        const asked = {
          metadata: { annotations: { [annotations.enabled]: 'true', [annotations.remedies]: 'auto' } },
          spec: { template: damaged },
        };
        const answer = review(reviewOf(asked), settings);
        expect(answer.outcome).to.not.equal('failed');
        if (!isPodTemplate(damaged)) return;
        const result = inject(damaged, withRemedies, settings);
        if (result.injected) expect(isWhole(result.template)).to.equal(true);
        const ejection = eject(damaged);
        if (ejection.ejected) expect(isInjected(ejection.template)).to.equal(false);
      }),
      { seed: 1, numRuns: 1000 },
    );
  });

  it('answers a large Deployment within the time the API server gives', () => {
    const env = Array.from({ length: 2000 }, (_, index) => ({ name: `V${index}`, value: 'x'.repeat(200) }));
    const many = Array.from({ length: 60 }, (_, index) => ({ name: `c${index}`, image: 'i', command: ['/c'], env }));
    const object = deployment({ containers: many }, { [annotations.enabled]: 'true', [annotations.container]: 'c7' });
    const began = performance.now();
    const answer = review(reviewOf(object), settings);
    expect(performance.now() - began).to.be.lessThan(500);
    expect(patchIn(answer)).to.not.deep.equal([]);
  });
});

type Path = readonly (string | number)[];

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  const entries: [string | number, unknown][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [at, ...entries.flatMap(([key, inner]) => pathsOf(inner, [...at, key]))];
}

/** The value with another one, or none, at the path. */
function changed(value: unknown, [key, ...rest]: Path, to: unknown): unknown {
  if (key === undefined) return to;
  if (Array.isArray(value)) {
    return rest.length === 0 && to === undefined
      ? value.filter((_, index) => index !== key)
      : value.map((item: unknown, index) => (index === key ? changed(item, rest, to) : item));
  }
  const { [key]: inner, ...others } = value as Record<string | number, unknown>;
  return rest.length === 0 && to === undefined ? others : { ...others, [key]: changed(inner, rest, to) };
}
