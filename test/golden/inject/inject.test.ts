import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';
import { type Answer, review } from '../../../webhook/admission.ts';
import type { Surroundings } from '../../../webhook/decision.ts';
import type { Settings } from '../../../webhook/settings.ts';
import { patchIn, reviewOf, settings } from '../../unit/webhook/support/samples.ts';
import { type Deployment, expectOnlyOurs, patched, withoutOptIn } from '../support/checks.ts';

const here = import.meta.dirname;
const cases = readdirSync(here, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const isUpdating = process.env['UPDATE_GOLDEN'] === '1';

function load(folder: string, file: string): unknown {
  return parse(readFileSync(join(here, folder, file), 'utf8'));
}

function loadIfThere(folder: string, file: string): unknown {
  return existsSync(join(here, folder, file)) ? load(folder, file) : undefined;
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
      const given = existsSync(join(here, name, 'pod.yaml')) ? 'pod.yaml' : 'deployment.yaml';
      const object = load(name, given) as Deployment;
      const old = loadIfThere(name, 'old.yaml');
      // What a registry says of the image, and another setting than usual.
      const surroundings = (loadIfThere(name, 'surroundings.yaml') ?? {}) as Surroundings;
      const changes = (loadIfThere(name, 'settings.yaml') ?? {}) as Partial<Settings>;
      const ask = (asked: unknown, before?: unknown) =>
        review(reviewOf(asked, before), { ...settings, ...changes }, surroundings);
      const answer = ask(object, old);
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
        if (old === undefined) expect(patchIn(ask(after))).to.deep.equal([]);
        expect(patchIn(ask(after, old ?? object))).to.deep.equal([]);
        expect(patchIn(ask(after, after))).to.deep.equal([]);
      });

      // The spec of a pod cannot change.
      if (object.kind === 'Pod') return;
      it('gives the original template back when the annotation goes', () => {
        const asked = withoutOptIn(after);
        const ejected = patched(asked, patchIn(ask(asked, after)));
        const original = load(name, existsSync(join(here, name, 'original.yaml')) ? 'original.yaml' : given);
        expect(ejected.spec).to.deep.equal(withoutOptIn(original as Deployment).spec);
      });
    });
  }
});
