import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { openStore } from '../../../../agent/store/open-store.ts';
import { isPodferryError } from '../../../fakes/expect-code.ts';
import { S3Server } from '../../../fakes/s3-server.ts';

const nowhere = { endpoint: '', region: '', bucket: '', accessKeyId: '', secretAccessKey: '', forcePathStyle: false };
const body = Buffer.from('x');
const { signal } = new AbortController();
const options = { sha256: sha256Hex(body), signal };

describe('agent/store/open-store', () => {
  for (const dialect of ['amazon', 'google'] as const) {
    it(`opens a bucket in ${dialect}'s dialect`, async () => {
      const server = await S3Server.start(dialect);
      const store = openStore(server.settings);
      await store.put('a/b', body, options);
      store.close();
      expect([...server.objects.keys()]).to.deep.equal(['a/b']);
      server.close();
    });
  }

  it('opens a folder', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'podferry-open-store-'));
    const store = openStore({ ...nowhere, type: 'file', folder });
    await store.put('a/b', body, options);
    expect(Buffer.from(await store.get('a/b', 1, signal))).to.deep.equal(body);
    store.close();
    await rm(folder, { recursive: true });
  });

  for (const [name, more] of Object.entries({
    'of a type that it does not know': { type: 'tape' },
    'in no folder': { type: 'file' },
    'in a folder that depends on where one stands': { type: 'file', folder: 'data' },
  })) {
    it(`refuses a store ${name}`, () => {
      isPodferryError('CONFIG_INVALID', () => openStore({ ...nowhere, ...more }));
    });
  }
});
