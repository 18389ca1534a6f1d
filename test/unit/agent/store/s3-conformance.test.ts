import { expect } from 'chai';
import { createS3Store, type ClosableStore } from '../../../../agent/store/s3.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { S3Server } from '../../../fakes/s3-server.ts';
import { storeConformance } from '../../../fakes/store-conformance.ts';

for (const dialect of ['amazon', 'google'] as const) {
  describe(`S3 store, ${dialect}'s dialect`, () => {
    const { signal } = new AbortController();
    let server: S3Server;
    let store: ClosableStore;
    before(async () => {
      server = await S3Server.start(dialect);
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

    it('removes more than one request, or one turn, may', async () => {
      const keys = Array.from({ length: dialect === 'amazon' ? 1001 : 20 }, (_, i) => `many/${i}`);
      for (const key of keys) server.objects.set(key, { body: Buffer.from('x'), modified: new Date() });
      await store.delete(keys, signal);
      expect([...server.objects.keys()].filter((key) => key.startsWith('many/'))).to.deep.equal([]);
    });

    // Of Amazon's, signatures are checked by a real server: test/integration/agent/store.
    if (dialect === 'google') {
      it('names a secret that is not the right one', async () => {
        const other = createS3Store({ ...server.settings, secretAccessKey: 'other' });
        expect(await codeOf(other.get('a/x', 10, signal))).to.equal('STORE_DENIED');
        other.close();
      });
    }

    it('calls a part that begins past the end corrupt', async () => {
      server.objects.set('a/short', { body: Buffer.from('x'), modified: new Date() });
      expect(await codeOf(store.readRange('a/short', 10, Buffer.alloc(5), 5, signal))).to.equal('OBJECT_CORRUPT');
    });
  });
}
