import { expect } from 'chai';
import * as fc from 'fast-check';
import { encodeManifest, parseManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const manifest: Manifest = {
  checkpoint: 'c-1',
  instance: 'i-1',
  generation: 2,
  facts: { criu: '4.2.1', kernel: '6.1.0', machine: 'x86_64', cpuFlags: ['avx'] },
  rootPid: 10_000,
  stoppedBefore: [10_004],
  stdio: [{ fd: 1, link: 'pipe:[4711]' }],
  packs: [
    { key: 'p/packs/a', bytes: 3 * 4096, sha256: 'a'.repeat(64) },
    { key: 'p/packs/b', bytes: 100, sha256: 'b'.repeat(64) },
  ],
  images: [{ name: 'core-10000.img', at: [{ pack: 1, offset: 0, bytes: 60 }] }],
  pages: [
    {
      kind: 'pid',
      id: 10_000,
      runs: [
        { page: 2 ** 35, pages: 2, flags: 6, pack: 0, at: 1 },
        { page: 2 ** 35 + 2, pages: 1_000_000, flags: 6, pack: -1, at: 0 },
      ],
    },
  ],
  files: { archive: [{ pack: 1, offset: 60, bytes: 40 }], deleted: ['/etc/old'] },
};

/** As it is stored, to be changed. */
interface Raw {
  version: unknown;
  rootPid?: unknown;
  packs: { sha256: string; bytes: number }[];
  images: { name: string; at: { pack: number; bytes: number }[] }[];
  pages: { runs: number[] }[];
  files: { archive: { offset: number }[] };
}

/** A first element that is known to be there. */
function first<T>(list: readonly T[]): T {
  const [element] = list;
  if (element === undefined) throw new Error('the list is empty');
  return element;
}

const raw = (): Raw => JSON.parse(encodeManifest(manifest).toString()) as Raw;

describe('manifest', () => {
  it('is read as it was written', () => {
    expect(parseManifest(encodeManifest(manifest))).to.deep.equal(manifest);
  });

  it('needs no files', () => {
    const { files: _files, ...rest } = manifest;
    expect(parseManifest(encodeManifest(rest))).to.deep.equal(rest);
  });

  const broken: { name: string; change: (m: Raw) => void }[] = [
    { name: 'another version', change: (m) => void (m.version = 2) },
    { name: 'no root', change: (m) => void delete m.rootPid },
    { name: 'a negative pid', change: (m) => void (m.rootPid = -1) },
    { name: 'a digest that is none', change: (m) => void (first(m.packs).sha256 = 'x') },
    { name: 'a pack larger than packs are', change: (m) => void (first(m.packs).bytes = 2 ** 30) },
    { name: 'an image outside its directory', change: (m) => void (first(m.images).name = '../../etc/x.img') },
    { name: 'a hidden image', change: (m) => void (first(m.images).name = '.img') },
    { name: 'something that is no image', change: (m) => void (first(m.images).name = 'criu.conf') },
    { name: 'an image in no pack', change: (m) => void (first(first(m.images).at).pack = 2) },
    { name: 'an image past its pack', change: (m) => void (first(first(m.images).at).bytes = 101) },
    { name: 'files past their pack', change: (m) => void (first(m.files.archive).offset = 61) },
    { name: 'a run of four numbers', change: (m) => void first(m.pages).runs.pop() },
    { name: 'a run in no pack', change: (m) => void (first(m.pages).runs[3] = 7) },
    { name: 'a run past its pack', change: (m) => void (first(m.pages).runs[1] = 3) },
    { name: 'an empty run', change: (m) => void (first(m.pages).runs[1] = 0) },
    { name: 'overlapping runs', change: (m) => void (first(m.pages).runs[5] = 2 ** 35 + 1) },
    { name: 'half a page', change: (m) => void (first(m.pages).runs[4] = 0.5) },
    { name: 'a page beyond numbers', change: (m) => void (first(m.pages).runs[5] = 2 ** 53) },
  ];
  for (const { name, change } of broken) {
    it(`is refused with ${name}`, () => {
      const changed = raw();
      change(changed);
      expect(() => parseManifest(Buffer.from(JSON.stringify(changed))))
        .to.throw(PodferryError)
        .with.property('code', 'MANIFEST_INVALID');
    });
  }

  it('is never anything untyped, whatever the bytes', () => {
    const bytes = encodeManifest(manifest);
    fc.assert(
      fc.property(fc.nat(bytes.byteLength - 1), fc.nat(255), (at, value) => {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        try {
          parseManifest(changed);
        } catch (error) {
          expect(error).to.be.instanceOf(PodferryError).with.property('code', 'MANIFEST_INVALID');
        }
      }),
    );
  });
});
