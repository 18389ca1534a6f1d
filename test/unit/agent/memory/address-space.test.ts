import { expect } from 'chai';
import { parseAddressSpace, parseMemoryUse } from '../../../../agent/memory/address-space.ts';

const maps = `00400000-00401000 r-xp 00000000 08:01 131 /usr/bin/app
00600000-00602000 rw-p 00000000 08:01 131 /usr/bin/app
01000000-01003000 rw-p 00000000 00:00 0 [heap]
10000000-10001000 rwxp 00000000 00:00 0 
7f0000000000-7f0000400000 rw-s 00000000 00:01 77 /dev/zero (deleted)
7f0000400000-7f0000402000 rw-s 00000000 00:01 5 /memfd:x (deleted)
7f0000500000-7f0000600000 rw-s 00000000 08:01 9 /data/file
7f0000600000-7f0000601000 ---p 00000000 00:00 0 
7f0000700000-7f0000900000 rw-p 00000000 00:0e 12 /anon_hugepage (deleted)
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
7ffc00100000-7ffc00104000 r--p 00000000 00:00 0 [vvar]
7ffc00104000-7ffc00106000 r-xp 00000000 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
no line
`;

describe('parseAddressSpace', () => {
  const space = parseAddressSpace(maps);

  it('finds private anonymous memory: no files, nothing shared, reserved or of the kernel', () => {
    expect(space.lazy).to.deep.equal([
      { from: 0x1000, to: 0x1003 },
      { from: 0x10000, to: 0x10001 },
      { from: 0x7ffc00000, to: 0x7ffc00021 },
    ]);
  });

  it('tells what of it holds code', () => {
    expect(space.code).to.deep.equal([{ from: 0x10000, to: 0x10001 }]);
  });

  it('counts shared memory, and not shared files', () => {
    expect(space.sharedBytes).to.equal(0x402000);
  });
});

describe('parseMemoryUse', () => {
  it('reads the three counts', () => {
    expect(
      parseMemoryUse('Name:\tx\nVmLck:\t       8 kB\nVmSwap:\t       4 kB\nRssAnon:\t      12 kB\n'),
    ).to.deep.equal({
      anonymous: 16 * 1024,
      locked: 8 * 1024,
    });
  });

  it('takes a process without memory as empty', () => {
    expect(parseMemoryUse('Name:\tx\nState:\tZ (zombie)\n')).to.deep.equal({ anonymous: 0, locked: 0 });
  });
});
