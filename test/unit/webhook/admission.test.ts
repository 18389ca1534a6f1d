import { expect } from 'chai';
import { applyPatch } from 'rfc6902';
import { isPodferryError } from './support/errors.ts';
import { annotations } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { warningOf } from '../../../webhook/skip.ts';
import { deployment, type Json, patchIn, reviewOf, settings } from './support/samples.ts';

const spec = { containers: [{ name: 'app', command: ['/app'] }] };
const enabled = deployment(spec, { [annotations.enabled]: 'true' });

describe('review', () => {
  it('echoes the uid, allows, and patches in base64', () => {
    const { review: answer } = review(reviewOf(enabled), settings);
    expect(answer.apiVersion).to.equal('admission.k8s.io/v1');
    expect(answer.kind).to.equal('AdmissionReview');
    expect(answer.response.uid).to.equal('705ab4f5-6393-11e8-b7cc-42010a800002');
    expect(answer.response.allowed).to.equal(true);
    expect(answer.response.patchType).to.equal('JSONPatch');
  });

  const ignored: readonly (Json & { readonly what: string })[] = [
    { what: 'DELETE', operation: 'DELETE', object: null },
    { what: 'the scale of a Deployment', subResource: 'scale' },
    { what: 'an older API version', kind: { group: 'apps', version: 'v1beta1', kind: 'Deployment' } },
    { what: 'another kind', kind: { group: 'apps', version: 'v1', kind: 'StatefulSet' } },
    { what: 'a CONNECT', operation: 'CONNECT' },
  ];
  for (const { what, ...request } of ignored) {
    it(`ignores ${what}`, () => {
      const answer = review(reviewOf(enabled, undefined, request), settings);
      expect(answer.outcome).to.equal('ignored');
      expect(Object.keys(answer.review.response)).to.have.members(['uid', 'allowed']);
    });
  }

  const malformed: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['a text', 'review'],
    ['v1beta1', { ...reviewOf(enabled), apiVersion: 'admission.k8s.io/v1beta1' }],
    ['another kind', { ...reviewOf(enabled), kind: 'ConversionReview' }],
    ['no request', { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }],
    ['a request without uid', reviewOf(enabled, undefined, { uid: undefined })],
  ];
  for (const [what, body] of malformed) {
    it(`refuses ${what}`, () => {
      expect(() => review(body, settings))
        .to.throw()
        .that.satisfies(isPodferryError('REQUEST_INVALID'));
    });
  }

  it('allows an object whose template it cannot read, and says where', () => {
    const odd = deployment({ containers: [{ name: 'app', command: 'sh' }] }, { [annotations.enabled]: 'true' });
    const answer = review(reviewOf(odd), settings);
    expect(answer.review.response.allowed).to.equal(true);
    expect(answer.review.response.warnings?.[0]).to.match(/TEMPLATE_INVALID: spec\.containers\.0\.command/);
    expect(patchIn(answer)).to.deep.equal([]);
  });

  it('says nothing about a workload that never opted in, whatever it looks like', () => {
    const odd = deployment({ containers: [{ name: 'app', command: 'sh' }], hostPID: true });
    expect(review(reviewOf(odd), settings).review.response).to.have.all.keys('uid', 'allowed');
  });

  it('allows with a warning when the injection itself fails', () => {
    const broken = {
      ...settings,
      get agentImage(): string {
        throw new TypeError('broken');
      },
    };
    const answer = review(reviewOf(enabled), broken);
    expect(answer.outcome).to.equal('failed');
    expect(answer.error).to.be.instanceOf(TypeError);
    expect(answer.review.response).to.include({ allowed: true });
    expect(answer.review.response.warnings?.[0]).to.match(/^podferry: INTERNAL: /);
    expect(patchIn(answer)).to.deep.equal([]);
  });

  it('rolls a workload out when its options change', () => {
    const injected: Json = { ...enabled, spec: { template: injectedTemplate() } };
    const moved = structuredClone(injected);
    (moved['metadata'] as { annotations: Json }).annotations[annotations.agentImage] = 'podferry/agent:other';
    expect(patchIn(review(reviewOf(moved, injected), settings)).map((one) => one.path)).to.deep.equal([
      '/spec/template/spec/containers/1/image',
      '/spec/template/spec/initContainers/0/image',
    ]);
  });

  it('does not inject at an update that changes nothing of the template', () => {
    expect(review(reviewOf({ ...enabled, replicas: 2 }, enabled), settings).outcome).to.equal('unchanged');
  });

  it('injects at an update that asks for it, whatever else changes', () => {
    const asking = structuredClone(enabled);
    (asking['metadata'] as { annotations: Json }).annotations[annotations.reinject] = '2026-01-01T00:00:00.000Z';
    expect(review(reviewOf(asking, enabled), settings).outcome).to.equal('injected');
    expect(review(reviewOf(asking, asking), settings).outcome).to.equal('unchanged');
  });
});

function injectedTemplate(): unknown {
  const copy = structuredClone(enabled);
  applyPatch(copy, patchIn(review(reviewOf(copy), settings)));
  return (copy['spec'] as Json)['template'];
}

describe('warningOf', () => {
  it('keeps the length and the characters that the API server passes on', () => {
    const text = warningOf({ code: 'CONTAINER_AMBIGUOUS', message: `café\n${'x'.repeat(500)}` });
    expect(text)
      .to.match(/^[\x20-\x7e]{1,256}$/)
      .and.match(/migration\.io\/container/);
  });
});
