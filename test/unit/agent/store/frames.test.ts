import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { areaOf, BufferPool, marginBytes } from '../../../../agent/store/buffer-pool.ts';
import { FrameThreads, inlineFrames, type Frames } from '../../../../agent/store/frame-threads.ts';
import { frameBytes, frameOverhead, openFrame, packKey, sealFrame } from '../../../../agent/store/frames.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { sealingFor } from '../../../fakes/sealing.ts';

const sealing = sealingFor('i-1');
const key = packKey(sealing, 'pack-a');

/** Content that shrinks. */
const text = (bytes: number): Buffer =>
  Buffer.from('every page of it says the same, more or less; '.repeat(bytes / 46 + 1)).subarray(0, bytes);

describe('frames', () => {
  const contents: { name: string; raw: Buffer; shrinks: boolean }[] = [
    { name: 'one byte', raw: Buffer.from([7]), shrinks: false },
    { name: 'text', raw: text(frameBytes), shrinks: true },
    { name: 'noise', raw: randomBytes(frameBytes), shrinks: false },
    { name: 'zeroes', raw: Buffer.alloc(frameBytes), shrinks: true },
    {
      name: 'noise, then zeroes',
      raw: Buffer.concat([randomBytes(frameBytes / 2), Buffer.alloc(frameBytes / 2)]),
      shrinks: true,
    },
    { name: 'a last frame', raw: text(4096), shrinks: true },
  ];
  for (const { name, raw, shrinks } of contents) {
    it(`hold ${name}`, () => {
      const target = Buffer.alloc(raw.byteLength + frameOverhead);
      const sealed = target.subarray(0, sealFrame(key, 3, raw, target));
      expect(sealed.byteLength < raw.byteLength).to.equal(shrinks);
      const opened = Buffer.alloc(raw.byteLength);
      expect(openFrame(key, 3, sealed, raw.byteLength, opened)).to.equal(true);
      expect(opened.equals(raw)).to.equal(true);
    });
  }

  it('stay as they are without compression, and open all the same', () => {
    const raw = text(frameBytes);
    const target = Buffer.alloc(raw.byteLength + frameOverhead);
    expect(sealFrame(key, 3, raw, target, false)).to.equal(raw.byteLength + frameOverhead);
    const opened = Buffer.alloc(raw.byteLength);
    expect(openFrame(key, 3, target, raw.byteLength, opened)).to.equal(true);
    expect(opened.equals(raw)).to.equal(true);
  });

  it('open nowhere else, with no other key, length or byte', () => {
    const raw = text(5000);
    const target = Buffer.alloc(raw.byteLength + frameOverhead);
    const sealed = target.subarray(0, sealFrame(key, 3, raw, target));
    const opened = Buffer.alloc(raw.byteLength);
    expect(openFrame(key, 2, sealed, 5000, opened)).to.equal(false);
    expect(openFrame(key, 3, sealed, 4999, opened)).to.equal(false);
    expect(openFrame(packKey(sealing, 'pack-b'), 3, sealed, 5000, opened)).to.equal(false);
    expect(openFrame(packKey({ ...sealing, instance: 'i-2' }, 'pack-a'), 3, sealed, 5000, opened)).to.equal(false);
    expect(openFrame(packKey(sealingFor('i-1'), 'pack-a'), 3, sealed, 5000, opened)).to.equal(false);
    for (let at = 0; at < sealed.byteLength; at += 1) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x80, at);
      expect(openFrame(key, 3, changed, 5000, opened), `byte ${at}`).to.equal(false);
      expect(openFrame(key, 3, sealed.subarray(0, at), 5000, opened), `cut at ${at}`).to.equal(false);
    }
    expect(opened.equals(Buffer.alloc(5000)), 'nothing was written').to.equal(true);
  });

  const workers: { name: string; make: () => Frames & { close?: () => Promise<void> } }[] = [
    { name: 'on the thread of the caller', make: () => inlineFrames },
    { name: 'in threads', make: () => new FrameThreads() },
  ];
  for (const { name, make } of workers) {
    it(`are sealed and opened in their buffer ${name}`, async () => {
      const frames = make();
      const bytes = 5 * frameBytes + 777;
      const pool = new BufferPool(4, bytes);
      const packs = await Promise.all(
        [
          randomBytes(bytes),
          text(bytes),
          Buffer.concat([text(bytes / 2), randomBytes(bytes / 2 + 1)]).subarray(0, bytes),
        ].map(async (raw, i) => {
          const buffer = pool.take() ?? Buffer.alloc(0);
          raw.copy(buffer);
          const job = { key: packKey(sealing, `p-${i}`), area: areaOf(buffer), rawAt: marginBytes, rawBytes: bytes };
          return { raw, buffer, job, sealed: await frames.seal(job) };
        }),
      );
      for (const { raw, buffer, job, sealed } of packs) {
        const whole = Buffer.from(areaOf(buffer));
        const stored = Buffer.from(whole.subarray(0, sealed.bytes));
        whole.fill(0);
        stored.copy(whole, whole.byteLength - stored.byteLength);
        expect(await frames.open({ ...job, frames: sealed.frames })).to.equal(undefined);
        expect(buffer.equals(raw)).to.equal(true);
        const area = new SharedArrayBuffer(stored.byteLength + 8);
        stored.copy(Buffer.from(area), 8);
        whole.fill(0);
        const elsewhere = { area, at: 8, bytes: stored.byteLength };
        expect(await frames.open({ ...job, frames: sealed.frames, sealed: elsewhere })).to.equal(undefined);
        expect(buffer.equals(raw), 'from elsewhere').to.equal(true);
        stored.copy(whole, whole.byteLength - stored.byteLength);
        whole.writeUInt8(whole.readUInt8(whole.byteLength - 1) ^ 1, whole.byteLength - 1);
        expect(await frames.open({ ...job, frames: sealed.frames })).to.equal(5);
      }
      await frames.close?.();
    });
  }

  it('fail with the thread that works on them, and later ones do not', async () => {
    const frames = new FrameThreads(1);
    const pool = new BufferPool(1, 1000);
    const buffer = pool.take() ?? Buffer.alloc(0);
    const job = { key, area: areaOf(buffer), rawAt: marginBytes, rawBytes: 1000 };
    // A key of the wrong length is a fault of ours, and is reported as one.
    expect(await codeOf(frames.seal({ ...job, key: { ...key, key: Buffer.alloc(3) } }))).to.equal('INTERNAL');
    expect((await frames.seal(job)).frames).to.have.length(1);
    // More than the thread can be done with before it ends.
    const cut = Array.from({ length: 500 }, () => codeOf(frames.seal(job)));
    await frames.close();
    expect(await cut.at(-1)).to.equal('INTERNAL');
    expect(await codeOf(frames.seal(job))).to.equal('INTERNAL');
  });
});
