import { expect } from 'chai';
import * as fc from 'fast-check';
import { decodeDumpStats, decodePagemap, decodePstree, encodePagemap } from '../../../../agent/criu/images.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { PstreeEntry } from '../../../../proto/gen/criu/images.ts';

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof PodferryError ? error.code : String(error);
  }
  return 'none';
};

const hex = (spaced: string): string => spaced.replaceAll(' ', '');

/** Words little-endian, then bytes. */
const image = (...words: number[]): Buffer => Buffer.from(Uint32Array.from(words).buffer);

describe('CRIU images', () => {
  it('hold a pagemap as CRIU 4.2 writes it', () => {
    const bytes = encodePagemap({ pagesId: 1, runs: [{ page: 0x10, pages: 2, flags: 4 }] });
    expect(bytes.toString('hex')).to.equal(hex('19435654 25400856 02000000 0801 0a000000 08808004 1002 2004 2802'));
  });

  it('give back every pagemap', () => {
    const run = fc.record({
      page: fc.integer({ min: 0, max: 2 ** 44 }),
      pages: fc.integer({ min: 1, max: 2 ** 31 }),
      flags: fc.constantFrom(2, 4),
    });
    const any = fc.record({ pagesId: fc.integer({ min: 1, max: 1000 }), runs: fc.array(run) });
    fc.assert(fc.property(any, (pagemap) => void expect(decodePagemap(encodePagemap(pagemap))).to.deep.equal(pagemap)));
  });

  it('write the address of an entry even when it is zero, as in shared memory: CRIU requires it', () => {
    const bytes = encodePagemap({ pagesId: 1, runs: [{ page: 0, pages: 1, flags: 4 }] });
    expect(bytes.subarray(-8).toString('hex')).to.equal('0800100120042801');
  });

  it('reads counts where older CRIUs put them', () => {
    const entry = Buffer.from('0880800410032004', 'hex');
    const size = Buffer.alloc(4);
    size.writeUInt32LE(entry.byteLength);
    const bytes = Buffer.concat([image(0x54564319, 0x56084025, 2), Buffer.from('0801', 'hex'), size, entry]);
    expect(decodePagemap(bytes).runs).to.deep.equal([{ page: 0x10, pages: 3, flags: 4 }]);
  });

  it('give back the processes, root first', () => {
    const processes = [
      { pid: 10_000, ppid: 0, pgid: 10_000, sid: 10_000, threads: [10_000, 10_002] },
      { pid: 10_001, ppid: 10_000, pgid: 10_000, sid: 10_000, threads: [10_001] },
    ];
    const entries = processes.map((process) => PstreeEntry.encode(process).finish());
    const framed = entries.flatMap((entry) => [image(entry.byteLength), entry]);
    const bytes = Buffer.concat([image(0x54564319, 0x50273030), ...framed]);
    expect(decodePstree(bytes)).to.deep.equal(processes);
  });

  it('give the times of a dump', () => {
    const dump = Buffer.from('0a0608e80710d00f', 'hex');
    const bytes = Buffer.concat([image(0x55105940, 0x57093306, dump.byteLength), dump]);
    expect(decodeDumpStats(bytes)).to.deep.equal({ freezingTime: 1000, frozenTime: 2000 });
  });

  const broken = [
    { name: 'nothing', bytes: Buffer.alloc(0), code: 'IMAGE_TRUNCATED' },
    { name: 'another file', bytes: Buffer.from('#!/bin/sh -e'), code: 'IMAGE_MAGIC' },
    { name: 'another image', bytes: image(0x54564319, 0x50273030, 0), code: 'IMAGE_MAGIC' },
    { name: 'no head', bytes: image(0x54564319, 0x56084025), code: 'IMAGE_TRUNCATED' },
    { name: 'an entry past the end', bytes: image(0x54564319, 0x56084025, 400, 0), code: 'IMAGE_TRUNCATED' },
    { name: 'half a size', bytes: image(0x54564319, 0x56084025, 0).subarray(0, 10), code: 'IMAGE_TRUNCATED' },
  ];
  for (const { name, bytes, code } of broken) {
    it(`refuse ${name}`, () => expect(codeOf(() => decodePagemap(bytes))).to.equal(code));
  }

  it('never throw anything untyped', () => {
    const start = image(0x54564319, 0x56084025);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
        const code = codeOf(() => decodePagemap(Buffer.concat([start, tail])));
        expect(code).to.be.oneOf(['none', 'IMAGE_TRUNCATED', 'IMAGE_MAGIC']);
      }),
    );
  });
});
