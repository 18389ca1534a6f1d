import { expect } from 'chai';
import { dumpMode } from '../../../../agent/memory/dump-mode.ts';
import { parseMaxOpenFiles } from '../../../../agent/memory/memory-use.ts';

const mib = 1024 * 1024;

describe('dumpMode', () => {
  const cases = [
    { name: 'scans private memory', use: {}, mode: 'scan' },
    { name: 'scans beside a little shared memory', use: { sharedBytes: 32 * mib }, mode: 'scan' },
    { name: 'receives much shared memory', use: { sharedBytes: 65 * mib }, mode: 'receive' },
    { name: 'receives locked memory', use: { lockedBytes: 500 * mib }, mode: 'receive' },
    { name: 'does not guess at mapped files', use: { scannedBytes: undefined }, mode: 'scan' },
    { name: 'receives what was written to mapped files', use: { scannedBytes: 900 * mib }, mode: 'receive' },
    {
      name: 'receives what would need more open files than CRIU may have',
      use: { maxOpenFiles: 2999 },
      mode: 'receive',
    },
    { name: 'takes pages of zeroes as nothing to worry about', use: { scannedBytes: 5000 * mib }, mode: 'scan' },
  ];
  for (const { name, use, mode } of cases) {
    it(name, () => {
      const all = {
        anonymousBytes: 1000 * mib,
        scannedBytes: 990 * mib,
        lockedBytes: 0,
        sharedBytes: 0,
        maxOpenFiles: 3000,
        ...use,
      };
      expect(dumpMode(all)).to.equal(mode);
    });
  }
});

describe('parseMaxOpenFiles', () => {
  it('takes the hard limit', () => {
    const limits = 'Max processes             1                    2                    processes \n';
    expect(
      parseMaxOpenFiles(`${limits}Max open files            1024                 20000                files     \n`),
    ).to.equal(20000);
    expect(
      parseMaxOpenFiles('Max open files            1024                 unlimited            files     \n'),
    ).to.equal(Infinity);
  });

  it('takes text without it as none at all', () => expect(parseMaxOpenFiles('')).to.equal(0));
});
