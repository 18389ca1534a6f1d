import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { frameOverhead } from '../../../../agent/store/frames.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { appendExtents, PackUpload, PackWriter } from '../../../../agent/store/pack-writer.ts';
import type { Extent } from '../../../../agent/store/manifest.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const bytesOfPack = 1000;
/** Bytes of a stored pack of random content. */
const sealedPack = bytesOfPack + frameOverhead;
const sealing = sealingFor('i-1');

function setUp(buffers = 3, compresses = true) {
  const store = new MemoryStore();
  const controller = new AbortController();
  const fail = (error: unknown): void => controller.abort(error);
  const pool = new BufferPool(buffers, bytesOfPack);
  const upload = new PackUpload({
    store,
    keyPrefix: 'x/',
    pool,
    sealing,
    parallel: 2,
    compresses,
    signal: controller.signal,
    fail,
  });
  return { store, controller, upload };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof PodferryError ? error.code : String(error);
}

describe('packs', () => {
  it('give back what several writers wrote at the same time, with bounded memory on both sides', async () => {
    const { store, upload, controller } = setUp();
    const contents = [randomBytes(7_321), randomBytes(12), randomBytes(4_000)];
    const extents = await Promise.all(
      contents.map(async (content) => {
        const writer = new PackWriter(upload);
        const list: Extent[] = [];
        for (let at = 0; at < content.byteLength; at += 700) {
          appendExtents(list, await writer.write(content.subarray(at, at + 700)));
        }
        writer.seal();
        return list;
      }),
    );
    const packs = await upload.finish();
    expect(upload.storedBytes).to.equal(
      [...store.objects.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    );
    expect(new Set(packs.map((pack) => pack.key)).size).to.equal(store.objects.size);

    const pool = new BufferPool(2, bytesOfPack);
    const reader = new PackReader({ store, packs, sealing, pool, signal: controller.signal });
    for (const [i, content] of contents.entries()) {
      const parts: Buffer[] = [];
      for await (const part of reader.parts(extents[i] ?? [])) parts.push(Buffer.from(part));
      expect(Buffer.concat(parts).equals(content)).to.equal(true);
    }
  });

  it('are as long as their content when nothing is compressed', async () => {
    for (const [compresses, isShort] of [
      [true, true],
      [false, false],
    ] as const) {
      const { upload } = setUp(3, compresses);
      const writer = new PackWriter(upload);
      await writer.write(Buffer.alloc(bytesOfPack, 'x'));
      writer.seal();
      await upload.finish();
      expect(upload.storedBytes < bytesOfPack).to.equal(isShort);
    }
  });

  it('end with the first put that fails, also for a writer that waits for memory', async () => {
    const { store, upload } = setUp();
    store.refusesPutsFrom = 1;
    const writer = new PackWriter(upload);
    expect(await codeOf(writer.write(randomBytes(20 * bytesOfPack)))).to.equal('STORE_WRITE_FAILED');
    expect(await codeOf(upload.finish())).to.equal('STORE_WRITE_FAILED');
    expect(store.objects.size).to.equal(1);
  });

  it('end a writer that waits for a store that does not answer', async () => {
    const { store, upload, controller } = setUp();
    store.hangs = true;
    const writing = codeOf(new PackWriter(upload).write(randomBytes(20 * bytesOfPack)));
    controller.abort(new PodferryError('DEADLINE_EXCEEDED', 'late'));
    expect(await writing).to.equal('DEADLINE_EXCEEDED');
    expect(await codeOf(upload.finish())).to.equal('DEADLINE_EXCEEDED');
  });

  it('are read ahead, but never at the cost of one that is still needed', async () => {
    const { upload, store, controller } = setUp();
    const writer = new PackWriter(upload);
    await writer.write(randomBytes(6 * bytesOfPack));
    writer.seal();
    const packs = await upload.finish();
    const pool = new BufferPool(3, bytesOfPack);
    const reader = new PackReader({ store, packs, sealing, pool, signal: controller.signal });
    reader.prefetch([0, 1, 2, 3, 4]);
    for (const i of [0, 1, 2]) {
      await reader.hold(i);
      reader.release(i);
    }
    expect(reader.readBytes).to.equal(3 * sealedPack);
    reader.prefetch([3]);
    await reader.hold(0);
    reader.release(0);
    expect(reader.readBytes).to.equal(3 * sealedPack);
    reader.done(0);
    reader.prefetch([3, 4]);
    await reader.hold(3);
    await reader.hold(1);
    expect(reader.readBytes).to.equal(4 * sealedPack);
  });

  it('wait until somebody releases one when all are held, and end with the signal', async () => {
    const { upload, store, controller } = setUp();
    const writer = new PackWriter(upload);
    await writer.write(randomBytes(2 * bytesOfPack));
    writer.seal();
    const packs = await upload.finish();
    const reader = new PackReader({
      store,
      packs,
      sealing,
      pool: new BufferPool(1, bytesOfPack),
      signal: controller.signal,
    });
    await reader.hold(0);
    const second = reader.hold(1);
    reader.release(0);
    expect((await second).byteLength).to.equal(bytesOfPack);
    const never = codeOf(reader.hold(0));
    controller.abort(new PodferryError('CANCELLED', 'cancelled'));
    expect(await never).to.equal('CANCELLED');
  });

  const damages: { name: string; code: string; damage: (store: MemoryStore, key: string) => void }[] = [
    { name: 'changed', code: 'OBJECT_CORRUPT', damage: (store, key) => void store.objects.get(key)?.fill(0, 4, 8) },
    { name: 'longer', code: 'OBJECT_CORRUPT', damage: (store, key) => void store.objects.set(key, randomBytes(1001)) },
    { name: 'missing', code: 'OBJECT_MISSING', damage: (store, key) => void store.objects.delete(key) },
  ];
  for (const { name, code, damage } of damages) {
    it(`are refused when ${name}`, async () => {
      const { upload, store, controller } = setUp();
      const writer = new PackWriter(upload);
      await writer.write(randomBytes(bytesOfPack));
      writer.seal();
      const packs = await upload.finish();
      damage(store, packs[0]?.key ?? '');
      const reader = new PackReader({
        store,
        packs,
        sealing,
        pool: new BufferPool(1, bytesOfPack),
        signal: controller.signal,
      });
      expect(await codeOf(reader.hold(0))).to.equal(code);
    });
  }
});
