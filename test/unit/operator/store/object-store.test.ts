import { expect } from 'chai';
import { openObjectStore, type ObjectStore } from '../../../../operator/store/object-store.ts';
import { listCheckpoints, releaseCheckpoint } from '../../../../operator/store/checkpoints.ts';
import { allOf } from '../../../fakes/all-of.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { S3Server } from '../../../fakes/s3-server.ts';

const { signal } = new AbortController();

describe('operator/store/object-store', () => {
  it('does not reach a folder', async () => {
    const server = await S3Server.start();
    expect(openObjectStore({ ...server.settings, type: 'file' })).to.equal(undefined);
    server.close();
  });

  for (const dialect of ['amazon', 'google'] as const) {
    describe(`${dialect}'s dialect`, () => {
      let server: S3Server;
      let store: ObjectStore;
      beforeEach(async () => {
        server = await S3Server.start(dialect);
        const opened = openObjectStore(server.settings);
        if (opened === undefined) throw new Error('it is no folder');
        store = opened;
      });
      afterEach(() => {
        store.close();
        server.close();
      });
      const put = (key: string, modifiedMs: number): void =>
        void server.objects.set(key, { body: Buffer.from('x'), modified: new Date(modifiedMs) });

      it('lists pages of everything, or of what is directly below, with the time of the store', async () => {
        for (const key of ['a/1', 'a/b/2', 'a/b/3', 'a/c/4', 'a/d/e/5', 'ab']) put(key, 5_000);
        for (const [level, objects, folders] of [
          ['all', ['a/1', 'a/b/2', 'a/b/3', 'a/c/4', 'a/d/e/5'], []],
          ['folder', ['a/1'], ['a/b/', 'a/c/', 'a/d/']],
        ] as const) {
          const pages = await allOf(store.pages('a/', level, signal));
          expect(pages.flatMap((page) => page.objects)).to.deep.equal(
            objects.map((key) => ({ key, bytes: 1, modifiedMs: 5_000 })),
          );
          expect(pages.flatMap((page) => page.folders)).to.deep.equal(folders);
          for (const { atMs } of pages) expect(atMs).to.be.closeTo(Date.now(), 5_000);
        }
      });

      it('removes more than one request may, and says what it may not', async () => {
        const keys = Array.from({ length: dialect === 'amazon' ? 1_001 : 20 }, (_, i) => `many/${i}`);
        for (const key of [...keys, 'locked']) put(key, 1);
        await store.delete([...keys, 'never-there'], signal);
        expect([...server.objects.keys()]).to.deep.equal(['locked']);
        expect(await codeOf(store.delete(['locked'], signal))).to.equal('STORE_DENIED');
      });

      it('knows the checkpoints of an instance, and releases one', async () => {
        for (const [checkpoint, modifiedMs] of [
          ['g1', 1_000],
          ['g3', 3_000],
          ['g2', 2_000],
        ] as const) {
          put(`p/i/checkpoints/${checkpoint}/manifest`, modifiedMs);
          put(`p/i/checkpoints/${checkpoint}/logs/dump.log`, modifiedMs);
        }
        put('p/i/packs/checkpoints/g9/manifest', 1_000);
        put('p/i/checkpoints/half/logs/dump.log', 1_000);
        const ids = async (): Promise<readonly string[]> =>
          (await listCheckpoints(store, 'p/i/', signal)).map(({ checkpoint }) => checkpoint);
        expect(await ids()).to.deep.equal(['g3', 'g2', 'g1']);
        const [newest] = await listCheckpoints(store, 'p/i/', signal);
        expect(newest).to.deep.equal({ keyPrefix: 'p/i/', checkpoint: 'g3', storedMs: 3_000 });
        const before = server.objects.size;
        for (let twice = 0; twice < 2; twice += 1) {
          await releaseCheckpoint(store, { keyPrefix: 'p/i/', checkpoint: 'g2' }, signal);
        }
        expect(await ids()).to.deep.equal(['g3', 'g1']);
        expect(server.objects.size).to.equal(before - 1);
      });

      for (const place of [
        { keyPrefix: 'p/i/', checkpoint: '../other/checkpoints/g1' },
        { keyPrefix: 'p/i/', checkpoint: '' },
        { keyPrefix: 'p/i', checkpoint: 'g1' },
      ]) {
        it(`releases nothing at ${JSON.stringify(place)}`, async () => {
          expect(await codeOf(releaseCheckpoint(store, place, signal))).to.equal('INTERNAL');
        });
      }
    });
  }

  it('says that the store does not answer', async () => {
    const server = await S3Server.start();
    const store = openObjectStore({ ...server.settings, endpoint: 'http://127.0.0.1:9' });
    server.close();
    if (store === undefined) throw new Error('it is no folder');
    const listing = allOf(store.pages('', 'folder', signal));
    expect(await codeOf(listing)).to.equal('STORE_UNREACHABLE');
    store.close();
  });
});
