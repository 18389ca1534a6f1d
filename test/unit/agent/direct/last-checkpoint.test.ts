import { expect } from 'chai';
import { packsOfLast } from '../../../../agent/direct/last-checkpoint.ts';
import { encodeManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { PageRuns, zeroPack } from '../../../../agent/store/page-runs.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const sealing = sealingFor('one');
const { signal } = new AbortController();
const prefix = 'p/one/';

function manifestOf(checkpoint: string, first: string): Manifest {
  const pack = (key: string, bytes: number) => ({
    key: `${prefix}packs/${key}`,
    bytes: 2 * 4096,
    frames: [bytes],
    sha256: 'a'.repeat(64),
  });
  const run = (page: number, of: number, flags = 6) => ({ page, pages: 1, flags, pack: of, at: 0 });
  return {
    checkpoint,
    instance: 'one',
    generation: 1,
    facts: { criu: '4.2.1', kernel: '6.1.0', machine: 'x86_64', cpuFlags: [] },
    rootPid: 10_000,
    stoppedBefore: [],
    stdio: [],
    packs: [pack('images', 500), pack(first, 600), pack('b', 700), pack('local', 800)],
    images: [{ name: 'core-10000.img', at: [{ pack: 0, offset: 0, bytes: 60 }] }],
    pages: [
      {
        kind: 'pid',
        id: 10_000,
        runs: PageRuns.of([run(1, 2), run(2, 1), run(3, 2), run(4, zeroPack), run(5, 3, 4)]),
      },
    ],
  };
}

describe('packsOfLast', () => {
  let store: MemoryStore;

  function put(checkpoint: string, modifiedMs: number, manifest = manifestOf(checkpoint, checkpoint)): void {
    const key = `${prefix}checkpoints/${checkpoint}/manifest`;
    store.objects.set(key, encodeManifest(manifest, sealing));
    store.modifiedMs.set(key, modifiedMs);
  }
  beforeEach(() => {
    store = new MemoryStore();
  });

  it('names what the memory needs of the newest one, in its order', async () => {
    put('new', 20);
    put('old', 10);
    store.objects.set(`${prefix}checkpoints/other/criu.log`, Buffer.from('x'));
    store.modifiedMs.set(`${prefix}checkpoints/other/criu.log`, 30);
    expect(await packsOfLast(store, prefix, sealing, signal)).to.deep.equal([
      { key: `${prefix}packs/b`, bytes: 700 },
      { key: `${prefix}packs/new`, bytes: 600 },
    ]);
  });

  it('names nothing when there is none', async () => {
    expect(await packsOfLast(store, prefix, sealing, signal)).to.deep.equal([]);
  });

  it('refuses one that is of another checkpoint, or damaged', async () => {
    put('new', 20, manifestOf('other', 'a'));
    expect(await codeOf(packsOfLast(store, prefix, sealing, signal))).to.equal('MANIFEST_INVALID');
    const key = `${prefix}checkpoints/new/manifest`;
    const bytes = Buffer.from(store.objects.get(key) ?? []);
    bytes[bytes.byteLength - 20] = (bytes[bytes.byteLength - 20] ?? 0) ^ 1;
    store.objects.set(key, bytes);
    expect(await codeOf(packsOfLast(store, prefix, sealing, signal))).to.equal('OBJECT_CORRUPT');
  });
});
