import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import type { Operation } from 'rfc6902';
import { Document, isMap, isSeq, parse } from 'yaml';
import { annotations } from '../../../proto/names.ts';
import { review } from '../../../webhook/admission.ts';
import { isInjected } from '../../../webhook/eject.ts';
import { isPodTemplate } from '../../../webhook/pod-template.ts';
import { patchIn, reviewOf, settings } from '../../unit/webhook/support/samples.ts';
import { type Deployment, ejected, expectOnlyOurs, operationsFor, patched, withoutOptIn } from '../support/checks.ts';
import { folded } from '../support/folded.ts';

/**
 * One file is one pair: what is asked, written by hand, and below `---` what comes of it, written by UPDATE_GOLDEN=1.
 * `object` is a Deployment; `spec` stands for one whose pods have this spec, with `annotations` on the workload (opted in
 * unless they are given). With `before` it is an update of what was stored when that was created; `edit` (JSON Patch) is
 * made on what is stored, as `kubectl edit` and `kubectl apply` do, `object` replaces it.
 */
interface Pair {
  readonly description: string;
  readonly object?: Deployment;
  readonly spec?: unknown;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly templateAnnotations?: Readonly<Record<string, string>>;
  readonly before?: Omit<Pair, 'description' | 'before' | 'edit'>;
  readonly edit?: readonly Operation[];
}

const here = import.meta.dirname;
const isUpdating = process.env['UPDATE_GOLDEN'] === '1';
const generated =
  '\n---\n# Generated: UPDATE_GOLDEN=1. What is `like` a part of test/golden/inject is written out there.\n';

const files = readdirSync(here, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));

function objectOf(pair: Omit<Pair, 'description'>, name: string): Deployment {
  if (pair.object !== undefined) return pair.object;
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop', annotations: pair.annotations ?? { [annotations.enabled]: 'true' } },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, ...(pair.templateAnnotations && { annotations: pair.templateAnnotations }) },
        spec: pair.spec,
      },
    },
  } as Deployment;
}

/** What is asked for, and for an update what is stored. */
function requestOf(pair: Pair, name: string): { readonly object: Deployment; readonly stored: Deployment | undefined } {
  if (pair.before === undefined) return { object: objectOf(pair, name), stored: undefined };
  const created = objectOf(pair.before, name);
  const stored = patched(created, operationsFor(created));
  return { object: pair.edit === undefined ? objectOf(pair, name) : patched(stored, pair.edit), stored };
}

function isUnmarked({ spec: { template } }: Deployment): boolean {
  return !isPodTemplate(template) || !isInjected(template);
}

/** An operation a line. */
function linesOf({
  patch,
  ...rest
}: { readonly patch: readonly Operation[] } & Readonly<Record<string, unknown>>): string {
  const document = new Document({ ...rest, patch: folded(patch) }, { aliasDuplicateObjects: false });
  const operations = document.get('patch');
  if (!isSeq(operations)) throw new TypeError('no list of operations');
  for (const operation of operations.items) if (isMap(operation)) operation.flow = true;
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}

describe('admission corpus', () => {
  it('has the cases', () => expect(files.length).to.be.at.least(240));

  for (const file of files.sort()) {
    const text = readFileSync(join(here, file), 'utf8');
    const [input = ''] = text.split(generated);
    const pair = parse(input) as Pair;
    const name = basename(file, '.yaml');

    it(`${file.slice(0, -'.yaml'.length)}: ${pair.description}`, () => {
      const { object, stored } = requestOf(pair, name);
      const answer = review(reviewOf(object, stored), settings);
      const patch = patchIn(answer);
      const after = patched(object, patch);

      const { outcome } = answer;
      const expected = linesOf({ outcome, warnings: answer.review.response.warnings ?? [], patch });
      const written = `${input}${generated}${expected}`;
      if (isUpdating) writeFileSync(join(here, file), written);
      else expect(text).to.equal(written);

      expect(pair.description).to.be.a('string').and.not.equal('');
      expectOnlyOurs(object, patch, after);
      // Asked again, as a first write, as a repetition, and as an update of itself.
      expect(operationsFor(after, stored ?? object)).to.deep.equal([]);
      expect(operationsFor(after, after)).to.deep.equal([]);
      if (stored === undefined) expect(operationsFor(after)).to.deep.equal([]);
      // The annotation goes: what stays is what the user wrote.
      const leaving = withoutOptIn(after);
      const left = patched(leaving, operationsFor(leaving, after));
      const theirs = ejected(withoutOptIn(object));
      if (theirs !== undefined) expect(left.spec.template).to.deep.equal(theirs);
      if (stored === undefined && isUnmarked(object)) expect(left).to.deep.equal(withoutOptIn(object));
    });
  }
});
