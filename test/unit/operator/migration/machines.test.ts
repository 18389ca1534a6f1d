import { expect } from 'chai';
import { differences, type Machine } from '../../../../operator/migration/machines.ts';
import * as given from '../../../fakes/operator-objects.ts';

const cases: readonly {
  name: string;
  source?: Partial<Machine>;
  target?: Partial<Machine>;
  codes: readonly string[];
  says?: RegExp;
}[] = [
  { name: 'the same', codes: [] },
  { name: 'a target with more', target: { cpuFlags: ['avx', 'avx512f', 'sse2'] }, codes: [] },
  { name: 'a target with less', target: { cpuFlags: ['sse2'] }, codes: ['CPU_FEATURES_MISSING'], says: /lacks avx$/ },
  {
    name: 'what only the kernel tells of itself',
    source: {
      cpuFlags: ['avx', 'pti', 'ibrs_enhanced', 'constant_tsc', 'vmx', 'ept_ad', 'user_shstk', 'amd_ppin', 'sse2'],
    },
    codes: [],
  },
  {
    name: 'features with similar names',
    source: { cpuFlags: ['amx_tile', 'sha_ni', 'ssse3', 'erms', 'fsrm', 'pku'] },
    codes: ['CPU_FEATURES_MISSING'],
    says: /amx_tile, sha_ni, ssse3, erms, fsrm, pku$/,
  },
  {
    name: 'another architecture',
    target: { machine: 'aarch64' },
    codes: ['CPU_FEATURES_MISSING'],
    says: /x86_64.*aarch64/,
  },
  { name: 'a kernel that lists no features', source: { cpuFlags: [] }, codes: [] },
  { name: 'a newer CRIU', target: { criuVersion: '4.10.0' }, codes: [] },
  { name: 'an older CRIU', source: { criuVersion: '4.10.0' }, codes: ['CRIU_OLDER'], says: /4\.10\.0.*4\.2\.1/ },
  { name: 'no CRIU', target: { criuVersion: '' }, codes: ['CRIU_UNSUPPORTED'] },
  {
    name: 'everything at once',
    target: { criuVersion: '4.1', cpuFlags: ['sse'], kernelLacks: ['CONFIG_CHECKPOINT_RESTORE'] },
    codes: ['KERNEL_UNSUPPORTED', 'CRIU_OLDER', 'CPU_FEATURES_MISSING'],
  },
];

describe('operator/migration/machines', () => {
  for (const { name, source, target, codes, says } of cases) {
    it(name, () => {
      const found = differences({ ...given.hello, ...source }, { ...given.hello, ...target });
      expect(found.map(({ code }) => code)).to.deep.equal(codes);
      if (says !== undefined) expect(found[0]?.message).to.match(says);
    });
  }
});
