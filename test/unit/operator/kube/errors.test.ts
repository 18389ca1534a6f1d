import { expect } from 'chai';
import { PodferryError } from '../../../../proto/errors.ts';
import { isConflict, remedyFor, type Remedy } from '../../../../operator/kube/errors.ts';
import { apiError } from '../../../fakes/kube-client.ts';

const cases: readonly { readonly name: string; readonly error: unknown; readonly remedy: Remedy }[] = [
  { name: 'a write against an old version', error: apiError(409, 'Conflict'), remedy: 'requeue' },
  { name: 'an exhausted quota', error: apiError(403, 'Forbidden'), remedy: 'final' },
  { name: 'an object that the schema refuses', error: apiError(422, 'Invalid'), remedy: 'final' },
  { name: 'too many requests', error: apiError(429, 'TooManyRequests'), remedy: 'retry' },
  { name: 'a server that is starting', error: apiError(503, 'ServiceUnavailable'), remedy: 'retry' },
  { name: 'no answer', error: new PodferryError('INTERNAL', 'no answer'), remedy: 'retry' },
  { name: 'a decision of ours', error: new PodferryError('TARGET_NOT_READY', 'refused'), remedy: 'final' },
  { name: 'anything else', error: 'text', remedy: 'retry' },
];

describe('operator/kube/errors', () => {
  for (const c of cases) it(`${c.name}: ${c.remedy}`, () => expect(remedyFor(c.error)).to.equal(c.remedy));

  it('a name that is taken is no conflict of versions', () => {
    expect(isConflict(apiError(409, 'AlreadyExists'))).to.equal(false);
    expect(isConflict(apiError(409, 'Conflict'))).to.equal(true);
  });
});
