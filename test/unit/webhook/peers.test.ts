import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { applyPatch } from 'rfc6902';
import { Original } from '../../../proto/injection.ts';
import { annotations, containers } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import type { PodTemplate } from '../../../webhook/pod-template.ts';
import { deployment, type Json, patchIn, reviewOf, settings } from './support/samples.ts';

const on = { [annotations.enabled]: 'true' };

function injectedInto(spec: Json, workload: Readonly<Record<string, string>> = on): PodTemplate {
  const object = structuredClone(deployment(spec, workload));
  applyPatch(object, patchIn(review(reviewOf(object), settings)));
  return (object['spec'] as { template: PodTemplate }).template;
}

/** Faults that were found in the nearest project of this kind, by their numbers there; none of them is ours. */
describe('faults of others', () => {
  describe('2: objects made and Secrets copied by a webhook, also for a dry run', () => {
    it('answers a dry run with the same patch as a request', () => {
      const object = deployment({ containers: [{ name: 'app', command: ['/app'] }] }, on);
      const dry = review(reviewOf(object, undefined, { dryRun: true }), settings);
      expect(dry).to.deep.equal(review(reviewOf(object, undefined, { dryRun: false }), settings));
      expect(patchIn(dry)).to.not.deep.equal([]);
    });

    it('says that it has no side effects, and nothing that decides about a pod writes or runs anything', () => {
      const root = join(import.meta.dirname, '../../..');
      const manifest = readFileSync(join(root, 'manifests/base/webhook-configuration.yaml'), 'utf8');
      expect(manifest)
        .to.match(/sideEffects: None/)
        .and.not.match(/sideEffects: (Some|Unknown|NoneOnDryRun)/);
      const writing = /\b(writeFile|appendFile|createWriteStream|child_process|method: '(POST|PUT|PATCH|DELETE)')/;
      for (const file of readdirSync(join(root, 'webhook')).filter((name) => name.endsWith('.ts'))) {
        expect(readFileSync(join(root, 'webhook', file), 'utf8'), file).to.not.match(writing);
      }
    });
  });

  describe('3: command and args joined with characters that may be in them', () => {
    const lists: readonly (readonly string[])[] = [
      ['a,b', 'c'],
      ['a', 'b,c'],
      ['|||'],
      ['a|||b'],
      ['', ''],
      ['"', "'", '\\', '\n', '\u0000', '🚢', '$(A)'],
    ];
    for (const words of lists) {
      it(`keeps ${JSON.stringify(words)}`, () => {
        const template = injectedInto({ containers: [{ name: 'app', command: ['/app', ...words], args: words }] });
        const record: unknown = JSON.parse(template.metadata?.annotations?.[annotations.original] ?? '');
        expect(Original.parse(record)).to.deep.include({ command: ['/app', ...words], args: words });
      });
    }
    it('tells lists apart that joined would be one', () => {
      const records = lists.slice(0, 2).map((args) => {
        return injectedInto({ containers: [{ name: 'app', command: ['/app'], args }] }).metadata?.annotations;
      });
      expect(records[0]).to.not.deep.equal(records[1]);
    });
    it('injects nothing that it could not start again: no command, no record, no injection', () => {
      const object = deployment({ containers: [{ name: 'app', args: ['x'] }] }, on);
      const answer = review(reviewOf(object), settings);
      expect(answer.outcome).to.equal('skipped');
      expect(patchIn(answer)).to.deep.equal([]);
      expect(answer.review.response.warnings?.[0]).to.match(/COMMAND_UNKNOWN/);
    });
  });

  describe('4 and 5: an identity guessed from names, and replicas that collide', () => {
    it('gives a template no identity: the first generation of each pod is its uid', () => {
      const template = injectedInto({ containers: [{ name: 'app', command: ['/app'] }] });
      const text = JSON.stringify(template);
      for (const name of [annotations.instance, annotations.generation]) expect(text).to.not.contain(`"${name}"`);
    });
    it('does not take the name or the revision of a workload into its pods: a rollout is no new application', () => {
      const spec = { containers: [{ name: 'app', command: ['/app'] }] };
      const one = injectedInto(spec);
      const other = structuredClone(deployment(spec, on));
      other['metadata'] = { name: 'counter-2', namespace: 'shop', uid: 'other', annotations: on };
      applyPatch(other, patchIn(review(reviewOf(other), settings)));
      expect((other['spec'] as { template: unknown }).template).to.deep.equal(one);
    });
    it('refuses a template that would give all its replicas one identity', () => {
      const object = deployment({ containers: [{ name: 'app', command: ['/app'] }] }, on);
      const { template } = object['spec'] as { template: { metadata: Json } };
      template.metadata['annotations'] = { [annotations.instance]: 'b1a4e3c2', [annotations.generation]: '1' };
      const answer = review(reviewOf({ ...object, spec: { replicas: 3, template } }), settings);
      expect(answer.outcome).to.equal('skipped');
      expect(answer.review.response.warnings?.[0]).to.match(/ANNOTATION_MISPLACED: migration\.io\/instance/);
    });
  });

  it('6: newer fields lost by typed structs: a patch of the raw object names none of them', () => {
    const future = { container: { newField: 1 }, pod: { newerField: [null] } };
    const object = deployment(
      { containers: [{ name: 'app', command: ['/app'], ...future.container }], ...future.pod },
      on,
    );
    const patch = patchIn(review(reviewOf(object), settings));
    expect(JSON.stringify(patch)).to.not.match(/newField|newerField/);
    const after = structuredClone(object);
    applyPatch(after, patch);
    const { template } = after['spec'] as { template: PodTemplate };
    expect(template.spec).to.deep.include(future.pod);
    expect(template.spec.containers[0]).to.deep.include(future.container);
  });

  describe('7: the container renamed, and the first one taken', () => {
    it('keeps the name, so that logs -c, probes and autoscalers find it', () => {
      const template = injectedInto({ containers: [{ name: 'checkout-api', command: ['/app'] }] });
      expect(template.spec.containers.map(({ name }) => name)).to.deep.equal(['checkout-api', containers.agent]);
    });
    for (const sidecar of [
      'istio-proxy',
      'linkerd-proxy',
      'vault-agent',
      'daprd',
      'kuma-sidecar',
      'consul-dataplane',
    ]) {
      it(`does not take ${sidecar}, though it comes first`, () => {
        const template = injectedInto({ containers: [{ name: sidecar }, { name: 'api', command: ['/api'] }] });
        expect(template.spec.containers[0]).to.deep.equal({ name: sidecar });
        expect(template.spec.containers[1]?.command?.[0]).to.match(/podferry/);
      });
    }
    it('does not guess between two of the user: it asks', () => {
      const object = deployment(
        {
          containers: [
            { name: 'one', command: ['/1'] },
            { name: 'two', command: ['/2'] },
          ],
        },
        on,
      );
      expect(review(reviewOf(object), settings).review.response.warnings?.[0]).to.match(/CONTAINER_AMBIGUOUS/);
    });
  });
});
