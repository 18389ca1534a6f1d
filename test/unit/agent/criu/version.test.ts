import { expect } from 'chai';
import { criuVersion, parseCriuVersion } from '../../../../agent/criu/version.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('parseCriuVersion', () => {
  const cases = [
    { output: 'Version: 4.2.1\n', version: '4.2.1' },
    { output: 'Version: 4.3\nGitID: v4.3\n', version: '4.3.0' },
    { output: 'Version: 5.0\n', version: '5.0.0' },
    { output: 'Version: 4.2\n', version: undefined },
    { output: 'Version: 4.1.9\n', version: undefined },
    { output: 'Version: 3.17.1\n', version: undefined },
    { output: 'criu: not found', version: undefined },
  ];
  for (const { output, version } of cases) {
    it(`${version === undefined ? 'refuses' : 'takes'} ${JSON.stringify(output)}`, () => {
      if (version !== undefined) {
        expect(parseCriuVersion(output)).to.equal(version);
        return;
      }
      expect(() => parseCriuVersion(output))
        .to.throw(PodferryError)
        .with.property('code', 'CRIU_UNSUPPORTED');
    });
  }

  it('says the same of a CRIU that cannot be run', async () => {
    const criu = { command: () => ({ file: '/nowhere/criu', args: [], env: {} }), pathFor: (path: string) => path };
    const error: unknown = await criuVersion(criu, 1000).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PodferryError).with.property('code', 'CRIU_UNSUPPORTED');
  });
});
