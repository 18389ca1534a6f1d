import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseMountinfo } from '../../../../agent/launch/mounts.ts';

describe('parseMountinfo', () => {
  it('reads octal escapes, optional fields, and mounts of single files', () => {
    const text = [
      String.raw`36 35 98:0 /a\040b /mnt\011tab\134 rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue`,
      '37 36 0:22 / /proc rw - proc proc rw',
      '',
    ].join('\n');
    expect(parseMountinfo(text)).to.deep.equal([
      {
        id: 36,
        device: '98:0',
        root: '/a b',
        point: '/mnt\ttab\\',
        fsType: 'ext4',
        superOptions: ['rw', 'errors=continue'],
      },
      { id: 37, device: '0:22', root: '/', point: '/proc', fsType: 'proc', superOptions: ['rw'] },
    ]);
  });

  it("reads this machine's", () => {
    const text = readFileSync('/proc/self/mountinfo', 'latin1');
    expect(parseMountinfo(text)).to.have.length(text.trim().split('\n').length);
  });
});
