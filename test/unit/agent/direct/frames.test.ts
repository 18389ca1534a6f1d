import { expect } from 'chai';
import { frameHead, FrameReader, freezeWord, maxBodyBytes } from '../../../../agent/direct/frames.ts';
import { isPodferryError } from '../../../fakes/expect-code.ts';

class Sink {
  readonly objects = new Map<string, Buffer>();
  readonly ended: string[] = [];
  freezes = 0;
  constructor(private readonly keeps = true) {}
  begin(key: string, bytes: number): Buffer | undefined {
    const body = Buffer.alloc(bytes);
    this.objects.set(key, body);
    return this.keeps ? body : undefined;
  }
  end(key: string): void {
    this.ended.push(key);
  }
  freezing(): void {
    this.freezes += 1;
  }
}

const sent = Buffer.concat([
  frameHead('packs/a', 5),
  Buffer.from('hello'),
  frameHead('empty', 0),
  freezeWord,
  frameHead('packs/ü', 3),
  Buffer.from('end'),
]);

describe('agent/direct/frames', () => {
  for (const size of [1, 2, 7, 1_000]) {
    it(`puts objects together from pieces of ${size} bytes`, () => {
      const sink = new Sink();
      const reader = new FrameReader(sink);
      for (let at = 0; at < sent.byteLength; at += size) reader.push(sent.subarray(at, at + size));
      expect(sink.ended).to.deep.equal(['packs/a', 'empty', 'packs/ü']);
      expect(sink.objects.get('packs/a')?.toString()).to.equal('hello');
      expect(sink.objects.get('packs/ü')?.toString()).to.equal('end');
      expect(reader.isInside).to.equal(false);
      expect(sink.freezes).to.equal(1);
    });
  }

  it('goes over an object that is not kept', () => {
    const sink = new Sink(false);
    new FrameReader(sink).push(sent);
    expect(sink.ended).to.deep.equal(['packs/a', 'empty', 'packs/ü']);
  });

  it('knows that it is in the middle of one', () => {
    const reader = new FrameReader(new Sink());
    reader.push(sent.subarray(0, 3));
    expect(reader.isInside).to.equal(true);
  });

  it('refuses what is no object', () => {
    const huge = Buffer.from(frameHead('k', 1));
    huge.writeUInt32BE(maxBodyBytes + 1, 2);
    for (const wrong of [Buffer.from([0, 0, 0, 0, 0, 1]), Buffer.alloc(6, 0xff), huge]) {
      isPodferryError('DIRECT_FAILED', () => new FrameReader(new Sink()).push(wrong));
    }
  });

  it('refuses to send what no frame can carry', () => {
    isPodferryError('DIRECT_FAILED', () => frameHead('', 1));
    isPodferryError('DIRECT_FAILED', () => frameHead('k'.repeat(2_000), 1));
    isPodferryError('DIRECT_FAILED', () => frameHead('k', maxBodyBytes + 1));
  });
});
