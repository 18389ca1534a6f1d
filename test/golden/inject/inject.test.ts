import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';
import { type Answer, review } from '../../../webhook/admission.ts';
import { patchIn, reviewOf, settings } from '../../unit/webhook/support/samples.ts';
import { type Deployment, expectOnlyOurs, patched, withoutOptIn } from '../support/checks.ts';

const here = import.meta.dirname;
const cases = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const isUpdating = process.env['UPDATE_GOLDEN'] === '1';

function load(folder: string, file: string): unknown {
  return parse(readFileSync(join(here, folder, file), 'utf8'));
}

function warningsOf(answer: Answer): readonly string[] {
  return answer.review.response.warnings ?? [];
}

/** Compares with, or under UPDATE_GOLDEN=1 rewrites, a file of the case. */
function expectFile(folder: string, file: string, text: string): void {
  const path = join(here, folder, file);
  if (isUpdating) writeFileSync(path, text);
  expect(existsSync(path) ? readFileSync(path, 'utf8') : '(no such file)').to.equal(text);
}

describe('admission goldens', () => {
  it('has the cases', () => expect(cases.length).to.be.at.least(25));

  for (const { name } of cases) {
    describe(name, () => {
      const object = load(name, 'deployment.yaml') as Deployment;
      const old = existsSync(join(here, name, 'old.yaml')) ? load(name, 'old.yaml') : undefined;
      const answer = review(reviewOf(object, old), settings);
      const patch = patchIn(answer);
      const after = patched(object, patch);

      it('answers with the patch and the warnings', () => {
        expectFile(name, 'patch.json', `${JSON.stringify({ warnings: warningsOf(answer), patch }, undefined, 2)}\n`);
      });

      it('ends in the object', () => {
        expectFile(name, 'after.yaml', stringify(after, { lineWidth: 0 }));
      });

      it('touches nothing but what is ours', () => expectOnlyOurs(object, patch, after));

      it('changes nothing when asked again', () => {
        // What an older version injected stands on updates only.
        if (old === undefined) expect(patchIn(review(reviewOf(after), settings))).to.deep.equal([]);
        expect(patchIn(review(reviewOf(after, old ?? object), settings))).to.deep.equal([]);
        expect(patchIn(review(reviewOf(after, after), settings))).to.deep.equal([]);
      });

      it('gives the original template back when the annotation goes', () => {
        const asked = withoutOptIn(after);
        const ejected = patched(asked, patchIn(review(reviewOf(asked, after), settings)));
        const original = load(
          name,
          existsSync(join(here, name, 'original.yaml')) ? 'original.yaml' : 'deployment.yaml',
        );
        expect(ejected.spec).to.deep.equal(withoutOptIn(original as Deployment).spec);
      });
    });
  }
});
