import { expect } from 'chai';
import { failOf, findingsOf } from '../../../../operator/migration/findings.ts';
import { errorKinds } from '../../../../proto/errors.ts';
import * as given from '../../../fakes/operator-objects.ts';

const gpu = { code: 'GPU_IN_USE', message: 'process 7 (app) has /dev/nvidia0 (fd 3)' } as const;
const ring = { code: 'IO_URING_IN_USE', message: 'process 7 (app) has a ring' } as const;

describe('operator/migration/findings', () => {
  it('none is no failure', () => expect(failOf([])).to.equal(undefined));
  it('one fails with its own words', () => expect(failOf([gpu])).to.deep.equal({ kind: 'fail', ...gpu }));
  it('several are all told, each with what to do', () => {
    const told = [gpu, ring].map(({ code, message }) => `${code}: ${message} (${errorKinds[code].hint})`).join('; ');
    expect(failOf([gpu, ring])).to.deep.equal({ kind: 'fail', code: 'GPU_IN_USE', message: `2 reasons: ${told}` });
  });
  it("an older agent's codes", () =>
    expect(findingsOf(given.agentState({ preflight: ['GPU_IN_USE'] }))).to.deep.equal([
      { code: 'GPU_IN_USE', message: 'the agent found GPU_IN_USE' },
    ]));
  it('a code that this version does not know', () =>
    expect(findingsOf(given.agentState({ findings: [{ code: 'NEWER', message: 'm' }] }))).to.deep.equal([
      { code: 'INTERNAL', message: 'm' },
    ]));
});
