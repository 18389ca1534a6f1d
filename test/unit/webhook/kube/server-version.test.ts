import { expect } from 'chai';
import { detectNativeSidecars, hasNativeSidecars } from '../../../../webhook/kube/server-version.ts';
import { silentLog } from '../../../fakes/silent-log.ts';

describe('webhook/kube/server-version', () => {
  const cases: readonly (readonly [unknown, boolean])[] = [
    [{ major: '1', minor: '20' }, false],
    [{ major: '1', minor: '28' }, false],
    [{ major: '1', minor: '29' }, true],
    [{ major: '1', minor: '29+' }, true],
    [{ major: '1', minor: '34', gitVersion: 'v1.34.1-eks' }, true],
    [{ major: '2', minor: '0' }, true],
    [{ major: '', minor: '' }, false],
    [{}, false],
    ['1.30', false],
  ];
  for (const [version, has] of cases) {
    it(`${JSON.stringify(version)}: ${has}`, () => expect(hasNativeSidecars(version)).to.equal(has));
  }

  it('asks again, and takes the ordinary kind when nobody answers', async () => {
    let asked = 0;
    const silent = async (): Promise<unknown> => {
      asked += 1;
      throw new Error('no answer');
    };
    const api = { get: silent, lines: () => expect.fail('nothing is watched') };
    expect(await detectNativeSidecars({ api, log: silentLog(), pauseMs: 0 })).to.equal(false);
    expect(asked).to.equal(3);
    const late = { ...api, get: async () => (asked++ < 4 ? silent() : { major: '1', minor: '31' }) };
    expect(await detectNativeSidecars({ api: late, log: silentLog(), pauseMs: 0 })).to.equal(true);
  });
});
