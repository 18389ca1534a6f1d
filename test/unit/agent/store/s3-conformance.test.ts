import { expect } from 'chai';
import { createS3Store, type ClosableStore } from '../../../../agent/store/s3.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { S3Server } from '../../../fakes/s3-server.ts';
import { storeConformance } from '../../../fakes/store-conformance.ts';

describe('S3 store', () => {
  const { signal } = new AbortController();
  let server: S3Server;
  let store: ClosableStore;
  before(async () => {
    server = await S3Server.start();
    store = createS3Store(server.settings);
  });
  after(() => {
    store.close();
    server.close();
  });

  storeConformance(() => store);

  it('says what could not be removed', async () => {
    server.objects.set('a/locked', { body: Buffer.from('x'), modified: new Date() });
    expect(await codeOf(store.delete(['a/x', 'a/locked'], signal))).to.equal('STORE_DENIED');
  });

  it('removes more than one request may', async () => {
    const keys = Array.from({ length: 1001 }, (_, i) => `many/${i}`);
    for (const key of keys) server.objects.set(key, { body: Buffer.from('x'), modified: new Date() });
    await store.delete(keys, signal);
    expect([...server.objects.keys()].filter((key) => key.startsWith('many/'))).to.deep.equal([]);
  });

  it('calls a part that begins past the end corrupt', async () => {
    server.objects.set('a/short', { body: Buffer.from('x'), modified: new Date() });
    expect(await codeOf(store.readRange('a/short', 10, Buffer.alloc(5), 5, signal))).to.equal('OBJECT_CORRUPT');
  });
});
