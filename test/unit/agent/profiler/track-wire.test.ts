import { expect } from 'chai';
import { decodeTrackReply, encodeTrackRequest, trackReplyBytes } from '../../../../agent/profiler/track-wire.ts';

describe('track-wire', () => {
  it('encodes requests as track.c reads them', () => {
    expect([...encodeTrackRequest({ kind: 'probe' })]).to.deep.equal([1, ...new Array<number>(15).fill(0)]);
    expect([...encodeTrackRequest({ kind: 'attach', pid: 258 })].slice(0, 6)).to.deep.equal([2, 0, 0, 0, 2, 1]);
    expect(encodeTrackRequest({ kind: 'drop', pid: 1 }).readUInt32LE(0)).to.equal(4);
    const ranges = [
      { from: 1, to: 2 },
      { from: 2 ** 35, to: 2 ** 35 + 1 },
    ];
    for (const isLive of [false, true]) {
      const bytes = encodeTrackRequest({ kind: 'look', pid: 7, ranges, isLive });
      expect([0, 4, 8, 12].map((at) => bytes.readUInt32LE(at))).to.deep.equal([3, 7, Number(isLive), 2]);
      expect([16, 24, 32, 40].map((at) => bytes.readDoubleLE(at))).to.deep.equal([1, 2, 2 ** 35, 2 ** 35 + 1]);
      expect(bytes).to.have.length(48);
    }
  });

  const reply = (stage: number, error: number, counts: readonly number[], numbers: readonly number[]): Buffer => {
    const bytes = Buffer.alloc(24 + numbers.length * 8);
    for (const [i, value] of [3, stage, error, ...counts].entries()) bytes.writeUInt32LE(value, i * 4);
    for (const [i, value] of numbers.entries()) bytes.writeDoubleLE(value, 24 + i * 8);
    return bytes;
  };

  it('decodes replies', () => {
    const bytes = reply(0, 0, [2, 1, 1], [1, 2, 5, 9, 20, 30, 1, 9]);
    expect(trackReplyBytes(bytes.subarray(0, 23))).to.equal(undefined);
    expect(trackReplyBytes(bytes.subarray(0, 24))).to.equal(bytes.byteLength);
    expect(decodeTrackReply(bytes)).to.deep.equal({
      failure: undefined,
      written: [
        { from: 1, to: 2 },
        { from: 5, to: 9 },
      ],
      failed: [{ from: 20, to: 30 }],
      there: [{ from: 1, to: 9 }],
    });
  });

  it('says what went wrong', () => {
    expect(decodeTrackReply(reply(7, 1, [0, 0, 0], [])).failure).to.equal('the process cannot be traced (errno 1)');
    expect(decodeTrackReply(reply(99, 1, [0, 0, 0], [])).failure).to.equal('stage 99 (errno 1)');
  });
});
