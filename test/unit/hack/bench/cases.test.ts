import { expect } from 'chai';
import { benchmarkNames, choose, parseSizes, sizes } from '../../../../hack/bench/cases.ts';

const plenty = 1 << 20;
const all = benchmarkNames.filter((name) => name !== 'generations');

describe('what is benchmarked', () => {
  const words: { words: string[]; names: string[] }[] = [
    { words: [], names: all },
    { words: ['all'], names: all },
    { words: ['freeze'], names: ['freeze'] },
    { words: ['freeze', 'dump', 'dump'], names: ['dump', 'freeze'] },
    { words: ['delta', 'all'], names: all },
    { words: ['generations', 'all'], names: [...benchmarkNames] },
  ];
  for (const { words: given, names } of words) {
    it(`"${given.join(' ')}" means ${names.join(', ')}`, () => expect(choose(given)).to.deep.equal(names));
  }

  it('a word that is no benchmark is refused', () => expect(() => choose(['speed'])).to.throw(RangeError, 'speed'));

  it('large sizes are for the full run, and for machines that hold them', () => {
    expect(sizes({ full: false }, plenty, 2)).to.deep.equal([64, 256, 1024]);
    expect(sizes({ full: true }, plenty, 2)).to.deep.equal([64, 256, 1024, 2048, 4096, 8192]);
    expect(sizes({ full: true }, 20_000, 2)).to.deep.equal([64, 256, 1024, 2048, 4096, 8192]);
    expect(sizes({ full: true }, 20_000, 3)).to.deep.equal([64, 256, 1024, 2048, 4096]);
    expect(sizes({ full: true }, 4_000, 2)).to.deep.equal([64, 256]);
    expect(sizes({ full: true, only: [128, plenty] }, plenty, 1)).to.deep.equal([128]);
  });

  it('sizes are read in MiB', () => {
    expect(parseSizes('64,1024')).to.deep.equal([64, 1024]);
    for (const text of ['', '1GiB', '64,', '0', '-1']) expect(() => parseSizes(text)).to.throw(RangeError);
  });
});
