import { expect } from 'chai';
import { cpuFlags } from '../../../../agent/hub/hello.ts';

const cases: readonly { name: string; cpuinfo: string; flags: readonly string[] }[] = [
  {
    name: 'x86-64: of the first CPU, sorted',
    cpuinfo: 'processor\t: 0\nflags\t\t: sse avx\n\nprocessor\t: 1\nflags\t\t: other\n',
    flags: ['avx', 'sse'],
  },
  { name: 'arm64', cpuinfo: 'processor\t: 0\nFeatures\t: fp asimd\n', flags: ['asimd', 'fp'] },
  { name: 'none', cpuinfo: '', flags: [] },
];

describe('agent/hub/hello', () => {
  for (const c of cases) it(c.name, () => expect(cpuFlags(c.cpuinfo)).to.deep.equal(c.flags));
});
