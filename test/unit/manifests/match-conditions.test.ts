import { readFileSync } from 'node:fs';
import { evaluate } from '@marcbachmann/cel-js';
import { expect } from 'chai';
import { parse } from 'yaml';
import { annotations } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { optIn } from '../../../webhook/eligibility.ts';
import { inject } from '../../../webhook/inject.ts';
import { isDeployment, isPodTemplate } from '../../../webhook/pod-template.ts';
import { deployment, type Json, reviewOf, settings } from '../webhook/support/samples.ts';

const file = new URL('../../../manifests/match-conditions/match-conditions.yaml', import.meta.url);
const { webhooks } = parse(readFileSync(file, 'utf8')) as {
  readonly webhooks: readonly { readonly matchConditions: readonly { readonly expression: string }[] }[];
};
const [{ matchConditions } = { matchConditions: [] }] = webhooks;

/** As the API server asks: all conditions must hold; what is not there is null. */
function isAsked(object: Json | undefined, oldObject: Json | undefined): boolean {
  const context = { object: object ?? null, oldObject: oldObject ?? null };
  return matchConditions.every(({ expression }) => evaluate(expression, context) === true);
}

type Marks = Readonly<Record<string, string>>;
const spec = { containers: [{ name: 'app', command: ['/app'] }] };
const yes: Marks = { [annotations.enabled]: 'true' };

/** A Deployment with annotations of its own and on its template; without any, no field holds them. */
function web(own: Marks = {}, inTemplate?: Marks): Json {
  const made = deployment(spec, own) as { metadata: { annotations?: Marks }; spec: { template: { metadata: Json } } };
  if (Object.keys(own).length === 0) delete made.metadata.annotations;
  if (inTemplate !== undefined) made.spec.template.metadata['annotations'] = inTemplate;
  return made;
}

function injected(own: Marks): Json {
  const made: unknown = web(yes);
  if (!isDeployment(made) || !isPodTemplate(made.spec.template)) throw new Error('no Deployment');
  const injection = inject(made.spec.template, optIn(made, made.spec.template).options, settings);
  if (!injection.injected) throw new Error(injection.skip.message);
  return { ...web(own), spec: { ...made.spec, template: injection.template } };
}

const bare = web();
delete (bare as { spec: { template: { metadata?: Json } } }).spec.template.metadata;

describe('manifests/match-conditions', () => {
  const cases: readonly { name: string; object?: Json; oldObject?: Json; asked: boolean }[] = [
    { name: 'a create of any Deployment', object: web(), asked: false },
    { name: 'one without any metadata in its template', object: bare, asked: false },
    { name: 'one with annotations of others', object: web({ a: 'b' }, { c: 'd' }), asked: false },
    { name: 'one that opts in', object: web(yes), asked: true },
    { name: 'one whose template opts in', object: web({}, yes), asked: true },
    { name: 'one with a value that cannot be meant', object: web({ [annotations.enabled]: 'yes' }), asked: true },
    { name: 'an update that opts in', object: web(yes), oldObject: web(), asked: true },
    { name: 'an update that takes the annotation away', object: injected({}), oldObject: injected(yes), asked: true },
    { name: 'an update that does so with the template of old', object: web(), oldObject: injected(yes), asked: true },
    { name: 'an update of one that was injected before', object: injected({}), oldObject: injected({}), asked: true },
    { name: 'an update of another Deployment', object: web(), oldObject: web({ a: 'b' }), asked: false },
    { name: 'a delete', oldObject: web(), asked: false },
  ];
  for (const { name, object, oldObject, asked } of cases) {
    it(`${name}: ${asked ? 'asked' : 'not asked'}`, () => expect(isAsked(object, oldObject)).to.equal(asked));
  }

  it('keeps nothing from the webhook that it would change, warn of or take back', () => {
    const marks: readonly (Marks | undefined)[] = [
      undefined,
      ...['true', 'false', 'yes'].map((value) => ({ [annotations.enabled]: value })),
      { [annotations.container]: 'app', [annotations.agentImage]: 'other' },
    ];
    const all = [...marks.flatMap((own) => marks.map((inner) => web(own, inner))), injected(yes), injected({})];
    for (const object of all) {
      for (const oldObject of [undefined, ...all]) {
        if (isAsked(object, oldObject)) continue;
        const { review: answer } = review(reviewOf(object, oldObject), settings);
        expect(answer.response).to.have.all.keys('uid', 'allowed');
      }
    }
  });
});
