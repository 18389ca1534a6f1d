import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Mapping } from '../../../../agent/criu/images.ts';
import { leftName, parseLeft, readLeft, withLeft } from '../../../../agent/criu/left-pages.ts';
import { isPodferryError } from '../../../fakes/expect-code.ts';

const pageBytes = 4096;
const records = (...ranges: readonly [pid: number, from: number, to: number][]): Buffer => {
  const words = ranges.flatMap(([pid, from, to]) => [pid, from * pageBytes, to * pageBytes].map(BigInt));
  return Buffer.from(BigUint64Array.from(words).buffer);
};
const mapping = (from: number, to: number, mayComeLater = true): Mapping => ({ from, to, mayComeLater });

describe('the pages that CRIU was not told of', () => {
  const cases: readonly {
    readonly name: string;
    readonly bytes: Buffer;
    readonly expected: readonly (readonly [number, readonly (readonly [number, number])[]])[];
  }[] = [
    { name: 'are none in an empty file', bytes: records(), expected: [] },
    {
      name: 'are by process, ascending',
      bytes: records([7, 30, 31], [8, 1, 2], [7, 10, 12]),
      expected: [
        [7, [[10, 2], [30, 1]]], // prettier-ignore
        [8, [[1, 1]]],
      ],
    },
    {
      name: 'are named once where CRIU asked twice',
      bytes: records([7, 10, 20], [7, 12, 14], [7, 15, 25], [7, 25, 26]),
      expected: [[7, [[10, 16]]]],
    },
  ];
  for (const { name, bytes, expected } of cases) {
    it(name, () => {
      const left = Array.from(parseLeft(bytes), ([pid, all]) => [pid, all.map(({ from, to }) => [from, to - from])]);
      expect(left).to.deep.equal(expected);
    });
  }

  it('are refused when a record is cut off', () => {
    isPodferryError('IMAGE_TRUNCATED', () => parseLeft(records([7, 1, 2]).subarray(0, -1)));
  });

  it('are none where CRIU was told of all', () => {
    const dir = mkdtempSync(join(tmpdir(), 'left-'));
    try {
      expect(readLeft(dir).size).to.equal(0);
      writeFileSync(join(dir, leftName), records([7, 1, 2]));
      expect(readLeft(dir).size).to.equal(1);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('join what CRIU wrote, lazy where they may come later', () => {
    const runs = [{ page: 5, pages: 1, flags: 4 }];
    const left = [
      { from: 1, to: 5 },
      { from: 6, to: 10 },
    ];
    const mappings = [mapping(0, 8), mapping(8, 9, false), mapping(9, 20)];
    expect(withLeft(runs, left, mappings)).to.deep.equal([
      { page: 1, pages: 4, flags: 2 },
      { page: 5, pages: 1, flags: 4 },
      { page: 6, pages: 2, flags: 2 },
      { page: 8, pages: 1, flags: 0 },
      { page: 9, pages: 1, flags: 2 },
    ]);
  });

  for (const [name, mappings] of [
    ['before the first mapping', [mapping(2, 9)]],
    ['behind the last', [mapping(0, 1)]],
    ['between two', [mapping(0, 2), mapping(3, 9)]],
  ] as const) {
    it(`are refused ${name}`, () => {
      isPodferryError('CRIU_DUMP_FAILED', () => withLeft([], [{ from: 1, to: 4 }], mappings));
    });
  }
});
