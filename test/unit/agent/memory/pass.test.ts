import { expect } from 'chai';
import { batchesOf, piecesOf, splitByChunk } from '../../../../agent/memory/pass.ts';

describe('piecesOf', () => {
  it('divides at the borders of chunks', () => {
    expect(piecesOf([{ from: 250, to: 770 }])).to.deep.equal([
      { chunk: 0, from: 250, to: 256 },
      { chunk: 1, from: 0, to: 256 },
      { chunk: 2, from: 0, to: 256 },
      { chunk: 3, from: 0, to: 2 },
    ]);
  });

  it('keeps several ranges of one chunk apart', () => {
    expect(
      piecesOf([
        { from: 1, to: 2 },
        { from: 5, to: 7 },
      ]),
    ).to.deep.equal([
      { chunk: 0, from: 1, to: 2 },
      { chunk: 0, from: 5, to: 7 },
    ]);
  });
});

describe('batchesOf', () => {
  it('never divides a chunk', () => {
    const pieces = piecesOf([
      { from: 0, to: 2 },
      { from: 5, to: 300 },
      { from: 400, to: 1000 },
    ]);
    const batches = batchesOf(pieces, 2);
    expect(batches.flat()).to.deep.equal(pieces);
    expect(batches.map((batch) => [...new Set(batch.map(({ chunk }) => chunk))])).to.deep.equal([
      [0, 1],
      [2, 3],
    ]);
  });

  it('makes none of nothing', () => {
    expect(batchesOf([], 4)).to.deep.equal([]);
  });
});

describe('splitByChunk', () => {
  it('takes whole chunks', () => {
    const { inside, outside } = splitByChunk(piecesOf([{ from: 0, to: 600 }]), [{ from: 300, to: 301 }]);
    expect(inside.map(({ chunk }) => chunk)).to.deep.equal([1]);
    expect(outside.map(({ chunk }) => chunk)).to.deep.equal([0, 2]);
  });
});
