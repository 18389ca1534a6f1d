import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { readHeader } from '../../../../agent/store/manifest-envelope.ts';
import {
  encodeManifest,
  maxHotRanges,
  parseManifest,
  type HotImage,
  type Manifest,
} from '../../../../agent/store/manifest.ts';
import { PageRuns, type PageRun } from '../../../../agent/store/page-runs.ts';
import type { Sealing } from '../../../../agent/store/sealing.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';

const sealing = sealingFor('i-1');

const manifest: Manifest = {
  checkpoint: 'c-1',
  instance: 'i-1',
  generation: 2,
  facts: { criu: '4.2.1', kernel: '6.1.0', machine: 'x86_64', cpuFlags: ['avx'] },
  rootPid: 10_000,
  stoppedBefore: [10_004],
  stdio: [{ fd: 1, link: 'pipe:[4711]' }],
  packs: [
    { key: 'p/packs/a', bytes: 3 * 4096, frames: [700], sha256: 'a'.repeat(64) },
    { key: 'p/packs/b', bytes: 100, frames: [117], sha256: 'b'.repeat(64) },
  ],
  images: [{ name: 'core-10000.img', at: [{ pack: 1, offset: 0, bytes: 60 }] }],
  pages: [
    {
      kind: 'pid',
      id: 10_000,
      runs: PageRuns.of([
        { page: 2 ** 35, pages: 2, flags: 6, pack: 0, at: 1 },
        { page: 2 ** 35 + 2, pages: 1_000_000, flags: 6, pack: -1, at: 0 },
      ]),
    },
  ],
  files: { archive: [{ pack: 1, offset: 60, bytes: 40 }], deleted: ['/etc/old'] },
};

/** A copy whose fields tests may change to what they must not be. */
interface Loose {
  rootPid?: unknown;
  instance: string;
  packs: { sha256: string; bytes: number; frames: number[] }[];
  images: { name: string; at: { pack: number; bytes: number }[] }[];
  pages: { runs: { -readonly [key in keyof PageRun]: PageRun[key] }[] }[];
  files: { archive: { offset: number }[] };
}

function changed(change: (m: Loose) => void): Manifest {
  const { pages, ...rest } = manifest;
  const loose = { ...structuredClone(rest), pages: pages.map((image) => ({ ...image, runs: [...image.runs] })) };
  change(loose as unknown as Loose);
  return { ...loose, pages: loose.pages.map((image) => ({ ...image, runs: PageRuns.of(image.runs) })) };
}

/** A first element that is known to be there. */
function first<T>(list: readonly T[]): T {
  const [element] = list;
  if (element === undefined) throw new Error('the list is empty');
  return element;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof PodferryError ? error.code : String(error);
  }
  return 'none';
}

describe('manifest', () => {
  it('is read as it was written', () => {
    expect(parseManifest(encodeManifest(manifest, sealing), sealing)).to.deep.equal(manifest);
    const hot: HotImage[] = [
      {
        id: 10_000,
        ranges: [
          [2 ** 35, 1],
          [2 ** 35 + 7, 300],
        ],
      },
    ];
    const more = { ...manifest, takenMs: 1_790_000_000_000, parent: 'c-0', hot };
    expect(parseManifest(encodeManifest(more, sealing), sealing)).to.deep.equal(more);
  });

  it('names no more hot pages than a reader can be bothered with', () => {
    const ranges = Array.from({ length: maxHotRanges + 1 }, (_, i): [number, number] => [2 * i, 1]);
    const bytes = encodeManifest({ ...manifest, hot: [{ id: 1, ranges }] }, sealing);
    expect(codeOf(() => parseManifest(bytes, sealing))).to.equal('MANIFEST_INVALID');
    const none = encodeManifest({ ...manifest, hot: [{ id: 1, ranges: [[1, 0]] }] }, sealing);
    expect(codeOf(() => parseManifest(none, sealing))).to.equal('MANIFEST_INVALID');
  });

  it('needs no files', () => {
    const { files: _files, ...rest } = manifest;
    expect(parseManifest(encodeManifest(rest, sealing), sealing)).to.deep.equal(rest);
  });

  it('keeps any runs that ascend', () => {
    const steps = fc.record({
      gap: fc.nat(2 ** 30),
      pages: fc.integer({ min: 1, max: 2 ** 30 }),
      flags: fc.nat(255),
      zero: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(steps), fc.integer({ min: 0, max: 2 ** 36 }), (list, start) => {
        let next = start;
        const runs = list.map(({ gap, pages, flags, zero }) => {
          const page = next + gap;
          const length = zero ? pages : 1;
          next = page + length;
          return { page, pages: length, flags, pack: zero ? -1 : 0, at: zero ? 0 : flags % 3 };
        });
        const m: Manifest = { ...manifest, pages: [{ kind: 'shmem', id: 7, runs: PageRuns.of(runs) }] };
        expect(parseManifest(encodeManifest(m, sealing), sealing)).to.deep.equal(m);
      }),
    );
  });

  const broken: { name: string; change: (m: Loose) => void }[] = [
    { name: 'no root', change: (m) => void delete m.rootPid },
    { name: 'a negative pid', change: (m) => void (m.rootPid = -1) },
    { name: 'another instance than its header', change: (m) => void (m.instance = 'i-2') },
    { name: 'a digest that is none', change: (m) => void (first(m.packs).sha256 = 'x') },
    { name: 'a pack larger than packs are', change: (m) => void (first(m.packs).bytes = 2 ** 30) },
    { name: 'a pack of too many frames', change: (m) => void first(m.packs).frames.push(100) },
    { name: 'a pack without frames', change: (m) => void first(m.packs).frames.pop() },
    { name: 'a frame longer than its content', change: (m) => void (first(m.packs).frames[0] = 3 * 4096 + 18) },
    { name: 'a frame without content', change: (m) => void (first(m.packs).frames[0] = 17) },
    { name: 'an image outside its directory', change: (m) => void (first(m.images).name = '../../etc/x.img') },
    { name: 'a hidden image', change: (m) => void (first(m.images).name = '.img') },
    { name: 'something that is no image', change: (m) => void (first(m.images).name = 'criu.conf') },
    { name: 'an image in no pack', change: (m) => void (first(first(m.images).at).pack = 2) },
    { name: 'an image past its pack', change: (m) => void (first(first(m.images).at).bytes = 101) },
    { name: 'files past their pack', change: (m) => void (first(m.files.archive).offset = 61) },
    { name: 'a run in no pack', change: (m) => void (first(first(m.pages).runs).pack = 7) },
    { name: 'a run past its pack', change: (m) => void (first(first(m.pages).runs).at = 2) },
    { name: 'an empty run', change: (m) => void (first(first(m.pages).runs).pages = 0) },
    {
      name: 'a page beyond numbers',
      change: (m) => void (first(m.pages).runs[1] = { page: 2 ** 53 - 2, pages: 9, flags: 6, pack: -1, at: 0 }),
    },
  ];
  for (const { name, change } of broken) {
    it(`is refused with ${name}`, () => {
      // Sealed as it should be, so that only the content is at fault.
      const whole = encodeManifest(changed(change), sealing);
      expect(codeOf(() => parseManifest(whole, sealing))).to.equal('MANIFEST_INVALID');
    });
  }

  const unwritable: { name: string; change: (m: Loose) => void }[] = [
    {
      name: 'overlapping runs',
      change: (m) => void (first(m.pages).runs[1] = { page: 2 ** 35 + 1, pages: 1, flags: 6, pack: 0, at: 0 }),
    },
    { name: 'half a page', change: (m) => void (first(first(m.pages).runs).at = 0.5) },
  ];
  for (const { name, change } of unwritable) {
    it(`is not written with ${name}`, () => {
      expect(() => encodeManifest(changed(change), sealing)).to.throw(RangeError);
    });
  }

  it('shows neither addresses nor names to a reader without the key', () => {
    const bytes = encodeManifest(manifest, sealing);
    expect(bytes.includes('core-10000')).to.equal(false);
    expect(bytes.includes('/etc/old')).to.equal(false);
    const { header } = readHeader(bytes, 'm');
    expect(header).to.include({ instance: 'i-1', checkpoint: 'c-1', keyId: 'test-key' });
  });

  const strangers: { name: string; code: string; given: Partial<Sealing> }[] = [
    { name: 'another key', code: 'KEY_WRONG', given: { key: randomBytes(32) } },
    { name: 'a key of another name', code: 'KEY_WRONG', given: { id: 'other' } },
    { name: 'the key of another instance', code: 'MANIFEST_INVALID', given: { instance: 'i-2' } },
  ];
  for (const { name, code, given } of strangers) {
    it(`is refused with ${name}, and says which object`, () => {
      const work = (): unknown => parseManifest(encodeManifest(manifest, sealing), { ...sealing, ...given }, 'p/m');
      expect(codeOf(work)).to.equal(code);
      expect(work).to.throw(/p\/m/);
    });
  }

  it('is refused whole when it is of another format, and says which', () => {
    const bytes = encodeManifest(manifest, sealing);
    const changed = Buffer.from(bytes.toString('latin1').replace('"format":2', '"format":9'), 'latin1');
    expect(() => parseManifest(changed, sealing)).to.throw(/format 9/);
    expect(codeOf(() => parseManifest(changed, sealing))).to.equal('MANIFEST_INVALID');
  });

  it('is refused with any byte changed, cut or added', () => {
    const bytes = encodeManifest(manifest, sealing);
    for (let at = 0; at < bytes.byteLength; at += 1) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      const code = codeOf(() => parseManifest(changed, sealing));
      expect(code, `byte ${at}`).to.be.oneOf(['MANIFEST_INVALID', 'OBJECT_CORRUPT', 'KEY_WRONG']);
      const cut = codeOf(() => parseManifest(bytes.subarray(0, at), sealing));
      expect(cut, `cut at ${at}`).to.be.oneOf(['MANIFEST_INVALID', 'OBJECT_CORRUPT']);
    }
    expect(codeOf(() => parseManifest(Buffer.concat([bytes, Buffer.from('x')]), sealing))).to.equal('OBJECT_CORRUPT');
  });
});
