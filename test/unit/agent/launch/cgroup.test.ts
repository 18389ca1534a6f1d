import { expect } from 'chai';
import { parseCgroups, wholeMountsOf } from '../../../../agent/launch/cgroup.ts';
import { parseMountinfo } from '../../../../agent/launch/mounts.ts';

describe('parseCgroups', () => {
  it('reads v1, named, unified and empty lines', () => {
    const text = '12:cpu,cpuacct:/kubepods/x\n3:name=systemd:/kubepods/a:b\n0::/kubepods/y\n\n';
    expect(parseCgroups(text)).to.deep.equal([
      { controllers: ['cpu', 'cpuacct'], path: '/kubepods/x' },
      { controllers: ['name=systemd'], path: '/kubepods/a:b' },
      { controllers: [], path: '/kubepods/y' },
    ]);
  });
});

describe('wholeMountsOf', () => {
  const mounts = parseMountinfo(
    [
      '30 20 0:1 /kubepods/agent /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
      '31 20 0:1 / /run/podferry/cgroup/memory rw - cgroup none rw,memory',
      '32 20 0:2 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct',
      '33 20 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
      '34 20 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate',
      '35 20 0:5 / /proc rw - proc proc rw',
    ].join('\n'),
  );
  const cases: readonly { readonly controllers: readonly string[]; readonly points: readonly string[] }[] = [
    { controllers: ['memory'], points: ['/run/podferry/cgroup/memory'] },
    { controllers: ['cpu', 'cpuacct'], points: ['/sys/fs/cgroup/cpu,cpuacct'] },
    { controllers: ['name=systemd'], points: ['/sys/fs/cgroup/systemd'] },
    { controllers: [], points: ['/sys/fs/cgroup/unified'] },
    { controllers: ['blkio'], points: [] },
  ];
  for (const { controllers, points } of cases) {
    it(`finds ${points.join() || 'none'} for ${controllers.join() || 'the unified hierarchy'}`, () => {
      const found = wholeMountsOf({ controllers, path: '/x' }, mounts);
      expect(found.map((mount) => mount.point)).to.deep.equal(points);
    });
  }
});
