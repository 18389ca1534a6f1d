import { expect } from 'chai';
import * as fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { z } from 'zod';
import { PodferryError } from '../../../proto/errors.ts';
import { annotations } from '../../../proto/names.ts';
import { type Answer, review } from '../../../webhook/admission.ts';
import { eject } from '../../../webhook/eject.ts';
import { inject } from '../../../webhook/inject.ts';
import { type Container, isJsonObject, isPodTemplate, type PodTemplate } from '../../../webhook/pod-template.ts';
import { type Deployment, expectOnlyOurs, patched } from '../../golden/support/checks.ts';
import { deployment, type Json, patchIn, reviewOf, settings } from './support/samples.ts';
import { template } from './support/templates.ts';

/** What an API server takes for an answer, and nothing else; kubernetes admission/v1. */
const Response = z.strictObject({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  response: z
    .strictObject({
      uid: z.string().min(1),
      allowed: z.literal(true),
      patchType: z.literal('JSONPatch').optional(),
      patch: z.base64().optional(),
      warnings: z
        .array(z.string().regex(/^[\x20-\x7e]{1,256}$/))
        .min(1)
        .optional(),
    })
    .refine(({ patch, patchType }) => (patch === undefined) === (patchType === undefined)),
});

function answerTo(body: unknown): Answer | undefined {
  try {
    return review(body, settings);
  } catch (error) {
    if (error instanceof PodferryError && error.code === 'REQUEST_INVALID') return undefined;
    throw error;
  }
}

/** Valid, with the uid that was asked, and a patch that can be applied. */
function expectValid(body: unknown, answer: Answer): void {
  const sent: unknown = JSON.parse(JSON.stringify(answer.review));
  expect(Response.safeParse(sent).error).to.equal(undefined);
  const { request } = body as { request: { uid: string; object: unknown } };
  expect(answer.review.response.uid).to.equal(request.uid);
  expect(answer.outcome).to.not.equal('failed');
  const failures = applyPatch(structuredClone(request.object), patchIn(answer)).filter((result) => result !== null);
  expect(failures).to.deep.equal([]);
}

const valid = fc.record({ template, isUpdate: fc.boolean(), old: template }).map(({ template, isUpdate, old }) => {
  const object = (given: unknown): Json => ({
    metadata: { name: 'x', annotations: { [annotations.enabled]: 'true' } },
    spec: { template: given },
  });
  return reviewOf(object(template), isUpdate ? object(old) : undefined);
});

/** A review with one of its values, wherever it lies, replaced by anything. */
const damaged = fc
  .tuple(valid, fc.array(fc.nat(1000), { maxLength: 9 }), fc.jsonValue())
  .map(([body, steps, value]) => replaced(body, steps, value));

function replaced(at: unknown, [step, ...rest]: readonly number[], value: unknown): unknown {
  const entries = typeof at === 'object' && at !== null ? Object.entries(at) : [];
  const chosen = step === undefined ? undefined : entries[step % Math.max(1, entries.length)];
  if (chosen === undefined) return value;
  const [key, inner]: [string, unknown] = chosen;
  const next = replaced(inner, rest, value);
  if (Array.isArray(at)) return at.map((item: unknown, index) => (String(index) === key ? next : item));
  return { ...(at as Json), [key]: next };
}

describe('review, whatever it is asked', function () {
  this.timeout(60_000);

  it('answers each review with a valid one, and refuses all else by its code', () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(valid, damaged, fc.jsonValue()), (body) => {
        const given = JSON.stringify(body);
        const answer = answerTo(body);
        expect(JSON.stringify(body)).to.equal(given);
        if (answer === undefined) refused += 1;
        else expectValid(body, answer);
      }),
      { seed: 2, numRuns: 800 },
    );
    expect(refused).to.be.within(200, 600);
  });

  it('touches nothing but what is ours', () => {
    let patches = 0;
    fc.assert(
      fc.property(template, (given) => {
        const object = deployment({}, { [annotations.enabled]: 'true' });
        const asked = { ...object, spec: { template: given } } as unknown as Deployment;
        const patch = patchIn(review(reviewOf(asked), settings));
        if (patch.length > 0) patches += 1;
        expectOnlyOurs(asked, patch, patched(asked, patch));
      }),
      { seed: 3, numRuns: 300 },
    );
    expect(patches).to.be.greaterThan(50);
  });

  it('gives the same for the same', () => {
    fc.assert(
      fc.property(valid, (body) => {
        expect(review(structuredClone(body), settings)).to.deep.equal(review(body, settings));
      }),
      { seed: 4, numRuns: 100 },
    );
  });
});

/** A mesh that injects as the known ones do: takes out what it put in before, then puts it where it likes. */
interface Mesh {
  readonly isFirst: boolean;
  readonly isNative: boolean;
  readonly rewritesProbes: boolean;
}
const mesh = fc.record({ isFirst: fc.boolean(), isNative: fc.boolean(), rewritesProbes: fc.boolean() });
const meshNames: readonly string[] = ['istio-proxy', 'istio-init'];
const meshVolumes: readonly string[] = ['istio-envoy', 'istio-data'];
const status = 'sidecar.istio.io/status';

function meshed(given: PodTemplate, { isFirst, isNative, rewritesProbes }: Mesh): PodTemplate {
  const { spec, metadata } = given;
  const proxy: Container = { name: 'istio-proxy', image: 'proxy', ...(isNative ? { restartPolicy: 'Always' } : {}) };
  const theirs = (list: readonly Container[] = []) => list.filter(({ name }) => !meshNames.includes(name));
  const containers = theirs(spec.containers).map((one) => (rewritesProbes ? withProbe(one) : one));
  const running = isNative ? [] : [proxy];
  const starting = [{ name: 'istio-init', image: 'proxy' }, ...(isNative ? [proxy] : [])];
  const volumes = (spec.volumes ?? []).filter(({ name }) => !meshVolumes.includes(name));
  return {
    ...given,
    metadata: { ...metadata, annotations: { ...metadata?.annotations, [status]: '{"revision":"default"}' } },
    spec: {
      ...spec,
      containers: isFirst ? [...running, ...containers] : [...containers, ...running],
      initContainers: isFirst
        ? [...starting, ...theirs(spec.initContainers)]
        : [...theirs(spec.initContainers), ...starting],
      volumes: [...meshVolumes.map((name) => ({ name, emptyDir: {} })), ...volumes],
    },
  };
}

function withProbe(container: Container): Container {
  const probe = container['readinessProbe'];
  if (!isJsonObject(probe) || !isJsonObject(probe['httpGet'])) return container;
  const path = `/app-health/${container.name}/readyz`;
  return { ...container, readinessProbe: { ...probe, httpGet: { ...probe['httpGet'], path, port: 15_020 } } };
}

/** Without the order of the lists whose items have names. */
function unordered({ spec, ...rest }: PodTemplate): unknown {
  const byName = (list: readonly { readonly name: string }[] | undefined) =>
    list?.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  const { containers, initContainers, volumes } = spec;
  return {
    ...rest,
    spec: { ...spec, containers: byName(containers), initContainers: byName(initContainers), volumes: byName(volumes) },
  };
}

function injectedOf(given: PodTemplate): PodTemplate | undefined {
  const result = inject(given, { enabled: true }, settings);
  return result.injected ? result.template : undefined;
}

function ejectedOf(given: PodTemplate): PodTemplate {
  const ejection = eject(given);
  if (!ejection.ejected) throw new TypeError('not ejected');
  return ejection.template;
}

describe('inject beside another injector', function () {
  this.timeout(60_000);

  const theirs = template.filter(({ spec }) =>
    [...spec.containers, ...(spec.initContainers ?? [])].every(({ name }) => !meshNames.includes(name)),
  );

  it('comes to the same before it and after it, and asked again', () => {
    let count = 0;
    fc.assert(
      fc.property(theirs, mesh, (given: unknown, other) => {
        if (!isPodTemplate(given)) throw new TypeError('no pod template');
        const first = injectedOf(given);
        const after = injectedOf(meshed(given, other));
        expect(after === undefined).to.equal(first === undefined);
        if (first === undefined || after === undefined) return;
        count += 1;
        const again = injectedOf(meshed(first, other));
        if (again === undefined) throw new TypeError('not injected again');
        expect(unordered(again)).to.deep.equal(unordered(after));
        // A round that changes nothing but the order ends the reinvocations.
        const round = injectedOf(meshed(again, other));
        expect(round).to.deep.equal(injectedOf(meshed(round ?? again, other)));
        expect(round && unordered(round)).to.deep.equal(unordered(again));
      }),
      { seed: 5, numRuns: 400 },
    );
    expect(count).to.be.greaterThan(50);
  });

  it('leaves what the other one added when it is taken back', () => {
    fc.assert(
      fc.property(theirs, mesh, (given: unknown, other) => {
        if (!isPodTemplate(given)) throw new TypeError('no pod template');
        const first = injectedOf(given);
        if (first === undefined) return;
        expect(unordered(ejectedOf(meshed(first, other)))).to.deep.equal(unordered(meshed(given, other)));
      }),
      { seed: 6, numRuns: 300 },
    );
  });
});
