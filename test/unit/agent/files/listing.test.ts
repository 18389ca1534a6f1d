import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findArgs, loadListing, parseListing, saveListing } from '../../../../agent/files/listing.ts';
import type { Mount } from '../../../../agent/launch/mounts.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const mount = (point: string): Mount => ({ id: 1, device: '0:1', root: '/', point, fsType: 'ext4', superOptions: [] });

async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('findArgs', () => {
  const pruned = (args: readonly string[]): string[] => args.filter((_, i) => args[i - 1] === '-path');
  const starts = (args: readonly string[]): string[] => args.slice(0, args.indexOf('-xdev'));

  it('skips every mount, and our own volume even where it is none', () => {
    const args = findArgs([mount('/'), mount('/proc'), mount('/etc/hosts')], []);
    expect(starts(args)).to.deep.equal(['/']);
    expect(pruned(args)).to.deep.equal(['/proc', '/etc/hosts', '/.podferry']);
  });

  it('starts again in each volume, without the mounts inside it', () => {
    const args = findArgs([mount('/'), mount('/data'), mount('/data/conf'), mount('/data2')], ['/data']);
    expect(starts(args)).to.deep.equal(['/', '/data/.']);
    expect(pruned(args)).to.deep.equal(['/data', '/data/conf', '/data/./conf', '/data2', '/.podferry']);
  });

  it('leaves out volumes that are no mounts', () => {
    expect(starts(findArgs([mount('/')], ['/data', '/']))).to.deep.equal(['/']);
  });

  it('takes names literally', () => {
    expect(pruned(findArgs([mount('/a*[b]?\\')], []))[0]).to.equal(String.raw`/a\*\[b]\?\\`);
  });

  it('passes names that are not ASCII as they are', () => {
    const point = Buffer.from('/daté', 'utf8').toString('latin1'); // as mountinfo is read
    expect(starts(findArgs([mount(point)], ['/daté']))).to.deep.equal(['/', '/daté/.']);
  });
});

describe('parseListing', () => {
  const text = '/\0d\x004096\0s0\0/data/.\0d\x001\0s1\0/data/./a\nb\0f\x0012\0s2\0/\xff\0l\x003\0s3\0';
  const parsed = [
    ['/', { kind: 'd', bytes: 4096, stamp: 's0' }],
    ['/data', { kind: 'd', bytes: 1, stamp: 's1' }],
    ['/data/a\nb', { kind: 'f', bytes: 12, stamp: 's2' }],
    ['/\xff', { kind: 'l', bytes: 3, stamp: 's3' }],
  ];
  for (const size of [1, 7, 1_000]) {
    it(`reads it in pieces of ${size} bytes`, async () => {
      expect([...(await parseListing(chunked(Buffer.from(text, 'latin1'), size)))]).to.deep.equal(parsed);
    });
  }

  for (const torn of ['/a', '/a\0', '/a\0f\0', '/a\0f\x001\0s']) {
    it(`refuses one that ends in ${JSON.stringify(torn)}`, async () => {
      const error: unknown = await parseListing(chunked(Buffer.from(torn), 100)).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(PodferryError).and.to.include({ code: 'FILES_FAILED' });
    });
  }
});

describe('a kept listing', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'podferry-listing-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const listing = new Map([
    ['/a\n\xfe', { kind: 'f', bytes: 2 ** 40, stamp: '1.5,2.5,7,644,0,0' }],
    ['/', { kind: 'd', bytes: 0, stamp: '' }],
  ]);

  it('comes back as it was, and leaves nothing else', async () => {
    const file = join(dir, 'baseline');
    await saveListing(file, new Map());
    await saveListing(file, listing);
    expect([...(await loadListing(file))]).to.deep.equal([...listing]);
    expect(readdirSync(dir)).to.deep.equal(['baseline']);
  });

  it('is refused when it is torn or missing', async () => {
    const file = join(dir, 'baseline');
    await saveListing(file, listing);
    truncateSync(file, 10);
    for (const path of [file, join(dir, 'none')]) {
      const error: unknown = await loadListing(path).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(PodferryError).and.to.include({ code: 'FILES_FAILED' });
    }
  });
});
