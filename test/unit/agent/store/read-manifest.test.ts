import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import { frameBytes } from '../../../../agent/store/frames.ts';
import { encodeManifest, sha256Hex, type CheckpointRef, type Manifest } from '../../../../agent/store/manifest.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { PackUpload, PackWriter } from '../../../../agent/store/pack-writer.ts';
import { readManifest } from '../../../../agent/store/read-manifest.ts';
import { sealingOf, type Sealing } from '../../../../agent/store/sealing.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { sealingFor, storePack } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const { signal } = new AbortController();
const sealing = sealingFor('i-1');
const content = randomBytes(2 * frameBytes + 5000);

const manifest: Manifest = {
  checkpoint: 'c-1',
  instance: 'i-1',
  generation: 0,
  facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
  rootPid: 1,
  stoppedBefore: [],
  stdio: [],
  packs: [],
  images: [],
  pages: [],
};

/** Two packs, and a checkpoint that names them. */
function setUp(id = 'c-1', store = new MemoryStore()) {
  const packs = ['a', 'b'].map((name) => storePack(store, sealing, `p/packs/${id}-${name}`, content));
  const body = encodeManifest({ ...manifest, checkpoint: id, packs }, sealing);
  const ref: CheckpointRef = { id, manifestKey: `p/checkpoints/${id}/manifest`, manifestSha256: sha256Hex(body) };
  store.objects.set(ref.manifestKey, body);
  return { store, ref, packs };
}

describe('a stored checkpoint', () => {
  it('is read by its reference', async () => {
    const { store, ref, packs } = setUp();
    expect((await readManifest(store, ref, sealing, signal)).packs).to.deep.equal(packs);
  });

  const other = setUp('c-2').store.objects.get('p/checkpoints/c-2/manifest') ?? Buffer.alloc(0);
  const flip = (bytes: Buffer): Buffer =>
    Buffer.from(bytes.map((byte, i) => (i === bytes.byteLength - 20 ? byte ^ 1 : byte)));
  const damages: { name: string; pack: string; manifest: string; change: (bytes: Buffer) => Buffer | undefined }[] = [
    { name: 'flipped', pack: 'OBJECT_CORRUPT', manifest: 'OBJECT_CORRUPT', change: flip },
    { name: 'cut', pack: 'OBJECT_CORRUPT', manifest: 'OBJECT_CORRUPT', change: (bytes) => bytes.subarray(0, -7) },
    {
      name: 'longer',
      pack: 'OBJECT_CORRUPT',
      manifest: 'OBJECT_CORRUPT',
      change: (bytes) => Buffer.concat([bytes, bytes]),
    },
    { name: 'empty', pack: 'OBJECT_CORRUPT', manifest: 'OBJECT_CORRUPT', change: () => Buffer.alloc(0) },
    { name: 'missing', pack: 'OBJECT_MISSING', manifest: 'OBJECT_MISSING', change: () => undefined },
  ];
  const change = (store: MemoryStore, key: string, how: (bytes: Buffer) => Buffer | undefined): void => {
    const changed = how(store.objects.get(key) ?? Buffer.alloc(0));
    if (changed === undefined) store.objects.delete(key);
    else store.objects.set(key, changed);
  };

  /** Code and message of the failure. */
  async function failureOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
    return work.then(
      () => ({ code: 'none', message: '' }),
      (error: unknown) => {
        if (error instanceof PodferryError) return { code: error.code, message: error.message };
        throw error;
      },
    );
  }

  for (const { name, pack, manifest: code, change: how } of damages) {
    it(`is refused with a manifest that is ${name}, and says which`, async () => {
      const { store, ref } = setUp();
      change(store, ref.manifestKey, how);
      const failure = await failureOf(readManifest(store, ref, sealing, signal));
      expect(failure.code).to.equal(code);
      expect(failure.message).to.include(ref.manifestKey);
    });

    it(`gives nothing of a pack that is ${name}, and says which`, async () => {
      const { store, packs } = setUp();
      change(store, 'p/packs/c-1-b', how);
      const reader = new PackReader({ store, packs, pool: new BufferPool(2, content.byteLength), sealing, signal });
      const failure = await failureOf(reader.hold(1));
      expect(failure.code).to.equal(pack);
      expect(failure.message).to.include('p/packs/c-1-b');
      expect((await reader.hold(0)).equals(content), 'the other one').to.equal(true);
      // Where it is cut or flipped, which is in the last frame.
      const single = await failureOf(reader.frame(1, 2));
      if (name !== 'longer') expect(single.code).to.equal(pack);
    });
  }

  it('is refused when a manifest or a pack was put in place of another', async () => {
    const { store, ref, packs } = setUp();
    store.objects.set('p/packs/c-1-b', store.objects.get('p/packs/c-1-a') ?? Buffer.alloc(0));
    const reader = new PackReader({ store, packs, pool: new BufferPool(2, content.byteLength), sealing, signal });
    expect((await failureOf(reader.hold(1))).code).to.equal('OBJECT_CORRUPT');
    expect((await failureOf(reader.frame(1, 0))).code).to.equal('OBJECT_CORRUPT');
    store.objects.set(ref.manifestKey, other);
    expect((await failureOf(readManifest(store, ref, sealing, signal))).code).to.equal('OBJECT_CORRUPT');
    const misled = { ...ref, manifestSha256: sha256Hex(other) };
    expect((await failureOf(readManifest(store, misled, sealing, signal))).code).to.equal('MANIFEST_INVALID');
  });

  it('is refused under the id of another', async () => {
    const { store, ref } = setUp();
    const misled = { ...ref, id: 'c-9' };
    expect((await failureOf(readManifest(store, misled, sealing, signal))).code).to.equal('MANIFEST_INVALID');
  });

  it('gives single frames, and counts what it read', async () => {
    const { store, packs } = setUp();
    const reader = new PackReader({ store, packs, pool: new BufferPool(1, content.byteLength), sealing, signal });
    for (const frame of [2, 0, 1]) {
      const expected = content.subarray(frame * frameBytes, (frame + 1) * frameBytes);
      expect((await reader.frame(0, frame)).equals(expected)).to.equal(true);
    }
    expect(reader.readBytes).to.equal(store.objects.get('p/packs/c-1-a')?.byteLength);
    expect(await codeOf(reader.frame(0, 3))).to.equal('MANIFEST_INVALID');
    expect(await codeOf(reader.frame(2, 0))).to.equal('MANIFEST_INVALID');
  });

  it('goes on using packs of an earlier one', async () => {
    const { store, packs } = setUp();
    const pool = new BufferPool(2, content.byteLength);
    const fail = (error: unknown): void => expect.fail(String(error));
    const upload = new PackUpload({ store, keyPrefix: 'p/', pool, sealing, parallel: 1, signal, fail });
    const [old, second] = packs.map((pack) => upload.adopt(pack));
    const writer = new PackWriter(upload);
    const [extent] = await writer.write(Buffer.from('new'));
    writer.seal();
    expect([old, second, extent?.pack]).to.deep.equal([0, 1, 2]);
    expect(packs.map((pack) => upload.adopt(pack))).to.deep.equal([0, 1]);
    const all = await upload.finish();
    expect(upload.storedBytes).to.equal(3 + 17);
    const reader = new PackReader({ store, packs: all, pool, sealing, signal });
    expect((await reader.hold(1)).equals(content)).to.equal(true);
    expect((await reader.hold(2)).toString()).to.equal('new');
  });
});

describe('sealingOf', () => {
  it('takes what the operator gave', () => {
    const dataKey = randomBytes(32);
    const given: Sealing = sealingOf({ instance: 'i', dataKey, keyId: 'k' });
    expect(given).to.deep.equal({ instance: 'i', id: 'k', key: dataKey });
  });

  for (const [name, welcome] of [
    ['no key', { instance: 'i', dataKey: Buffer.alloc(0), keyId: 'k' }],
    ['a short key', { instance: 'i', dataKey: randomBytes(16), keyId: 'k' }],
    ['a key without a name', { instance: 'i', dataKey: randomBytes(32), keyId: '' }],
    ['no instance', { instance: '', dataKey: randomBytes(32), keyId: 'k' }],
  ] as const) {
    it(`refuses ${name}`, () => {
      expect(() => sealingOf(welcome))
        .to.throw(PodferryError)
        .with.property('code', 'CONFIG_INVALID');
    });
  }
});
