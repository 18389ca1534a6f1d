import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { deleteBelow, downloadFolder, s3Settings, uploadFolder, uploadRandom } from '../../../../hack/bench/objects.ts';
import { MemoryStore } from '../../../fakes/store.ts';

describe('objects of benchmarks', () => {
  let dir: string;
  const store = new MemoryStore();

  beforeEach(async () => {
    store.objects.clear();
    dir = await mkdtemp(join(tmpdir(), 'podferry-bench-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('a folder comes back as it went, large and empty files too', async () => {
    const contents = new Map([
      ['pages-1.img', randomBytes(20_000_000)],
      ['core-1.img', randomBytes(1000)],
      ['empty', Buffer.alloc(0)],
    ]);
    for (const [name, content] of contents) await writeFile(join(dir, name), content);
    const files = await uploadFolder(store, 'a/', dir);
    const back = join(dir, 'back');
    await downloadFolder(store, 'a/', back, files);
    for (const [name, content] of contents) {
      expect((await readFile(join(back, name))).equals(content), name).to.equal(true);
    }
  });

  it('random bytes are as many as asked for, in whole parts; everything below a prefix is removed', async () => {
    await uploadRandom(store, 'a/', 20 << 20);
    await uploadRandom(store, 'b/', 1);
    const bytes = [...store.objects.values()].map((object) => object.byteLength);
    expect(bytes).to.deep.equal([8 << 20, 8 << 20, 8 << 20, 8 << 20]);
    await deleteBelow(store, 'a/');
    expect([...store.objects.keys()]).to.deep.equal(['b/0']);
  });

  it('settings are of the environment, and a missing one is named', () => {
    const env = {
      PODFERRY_S3_ENDPOINT: 'http://127.0.0.1:1',
      PODFERRY_S3_REGION: 'r',
      PODFERRY_S3_BUCKET: 'b',
      PODFERRY_S3_ACCESS_KEY_ID: 'k',
      PODFERRY_S3_SECRET_ACCESS_KEY: 's',
    };
    expect(s3Settings(env)).to.deep.include({ bucket: 'b', forcePathStyle: true });
    expect(() => s3Settings({ ...env, PODFERRY_S3_BUCKET: '' })).to.throw('PODFERRY_S3_BUCKET');
  });
});
