import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createFileStore } from '../../../../agent/store/file.ts';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { storeConformance } from '../../../fakes/store-conformance.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const never = new AbortController().signal;

describe('file store', () => {
  let root: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'podferry-store-'));
  });
  after(async () => rm(root, { recursive: true, force: true }));

  storeConformance(() => createFileStore(root));

  it('leaves no drafts behind', async () => {
    expect(await readdir(join(root, '.incoming'))).to.deep.equal([]);
  });

  it('removes what a killed writer left long ago, and nothing younger', async () => {
    const old = Date.now() / 1000 - 2 * 3600;
    await writeFile(join(root, '.incoming', 'old'), 'x');
    await utimes(join(root, '.incoming', 'old'), old, old);
    await writeFile(join(root, '.incoming', 'young'), 'x');
    const body = Buffer.from('x');
    await createFileStore(root).put('swept', body, { sha256: sha256Hex(body), signal: never });
    expect(await readdir(join(root, '.incoming'))).to.deep.equal(['young']);
    await rm(join(root, '.incoming', 'young'));
  });

  for (const key of ['../x', 'a/../../x', '/etc/x', 'a//b', '', '.incoming/x', 'a/\0']) {
    it(`refuses the key ${JSON.stringify(key)}`, async () => {
      const body = Buffer.from('x');
      expect(await codeOf(createFileStore(root).put(key, body, { sha256: sha256Hex(body), signal: never }))).to.equal(
        'STORE_DENIED',
      );
    });
  }

  it('says that its folder is gone', async () => {
    const store = createFileStore(join(root, 'gone'));
    const body = Buffer.from('x');
    expect(await codeOf(store.put('a', body, { sha256: sha256Hex(body), signal: never }))).to.equal(
      'STORE_UNREACHABLE',
    );
    expect(await codeOf(store.get('a', 1, never))).to.equal('OBJECT_MISSING');
  });
});

describe('the store of the tests', () => {
  storeConformance(() => new MemoryStore());
});
