import { expect } from 'chai';
import { availableBytesOf, memoryBound, readMemoryBound } from '../../../../agent/direct/memory-bound.ts';

const MiB = 1024 * 1024;

describe('agent/direct/memory-bound', () => {
  const cases = [
    { name: 'less than half of the node', limitBytes: undefined, usedBytes: 50 * MiB, expected: 400 },
    {
      name: 'and of what our own limit leaves beside the restore',
      limitBytes: 512 * MiB,
      usedBytes: 56 * MiB,
      expected: 150,
    },
    { name: 'nothing when we are at the limit', limitBytes: 300 * MiB, usedBytes: 50 * MiB, expected: 0 },
  ];
  for (const { name, expected, ...facts } of cases) {
    it(name, () => expect(memoryBound({ availableBytes: 1_000 * MiB, ...facts }) / MiB).to.equal(expected));
  }

  it('reads /proc/meminfo', async () => {
    expect(availableBytesOf('MemTotal:  9 kB\nMemAvailable:    2048 kB\nCached: 1 kB\n')).to.equal(2_048 * 1_024);
    expect(availableBytesOf('')).to.equal(1024 ** 3);
    expect(await readMemoryBound()).to.be.greaterThan(0);
  });
});
