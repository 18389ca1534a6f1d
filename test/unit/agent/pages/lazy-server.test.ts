import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { command, decodeHeader, encodeHeader, headerBytes } from '../../../../agent/criu/page-xfer.ts';
import { LazyServer } from '../../../../agent/pages/lazy-server.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import type { PageImage } from '../../../../agent/store/manifest.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor, storePack } from '../../../fakes/sealing.ts';
import { GatedStore } from '../../../fakes/gated-store.ts';
import { eventually } from '../../../fakes/until.ts';
import { readBytes, socketPair } from './socket-pair.ts';

const packPages = 16;
const packs = 12;
const lazy = 6;

/** Two processes of six packs each; the second one has zeroes in front. */
async function setUp() {
  const store = new GatedStore();
  const sealing = sealingFor('i-1');
  const content = randomBytes(packs * packPages * pageBytes);
  const list = Array.from({ length: packs }, (_, i) => {
    const bytes = content.subarray(i * packPages * pageBytes, (i + 1) * packPages * pageBytes);
    return storePack(store, sealing, `p/${i}`, bytes);
  });
  const runs = (first: number, page: number) =>
    Array.from({ length: packs / 2 }, (_, i) => ({
      page: page + i * packPages,
      pages: packPages,
      flags: lazy,
      pack: first + i,
      at: 0,
    }));
  const images: PageImage[] = [
    { kind: 'pid', id: 10_000, runs: runs(0, 100) },
    { kind: 'pid', id: 10_001, runs: [{ page: 90, pages: 10, flags: lazy, pack: -1, at: 0 }, ...runs(packs / 2, 100)] },
  ];
  const pool = new BufferPool(8, packPages * pageBytes);
  const reader = new PackReader({ store, packs: list, pool, sealing, signal: new AbortController().signal });
  const { ours, theirs } = await socketPair();
  let fail: (error: unknown) => void = () => undefined;
  const failure = new Promise<unknown>((resolve) => {
    fail = resolve;
  });
  const server = new LazyServer({ socket: ours, images, reader, fail });
  ours.resume();
  const get = (pid: number, page: number, pages: number): void =>
    void theirs.write(encodeHeader({ command: command.get, flags: 0, page, pages, destination: BigInt(pid) }));
  const answer = async (): Promise<{ page: number; pid: number; content: Buffer }> => {
    const head = decodeHeader(await readBytes(theirs, headerBytes));
    expect(head.command).to.equal(command.add);
    expect(head.flags).to.equal(4);
    return { page: head.page, pid: Number(head.destination), content: await readBytes(theirs, head.pages * pageBytes) };
  };
  const pageOf = (pid: number, page: number, pages: number): Buffer => {
    const from = ((pid - 10_000) * (packs / 2) * packPages + page - 100) * pageBytes;
    return content.subarray(from, from + pages * pageBytes);
  };
  return { store, reader, server, theirs, ours, failure, get, answer, pageOf, images };
}

describe('LazyServer', () => {
  it('answers both processes in the order of their requests, with the right pages', async () => {
    const { server, get, answer, pageOf, theirs, reader, store } = await setUp();
    server.fill();
    const pids = [10_000, 10_001];
    const next = new Map(pids.map((pid) => [pid, 100]));
    const end = 100 + 6 * packPages;
    while ([...next.values()].some((page) => page < end)) {
      const asked = pids.filter((pid) => (next.get(pid) ?? end) < end);
      for (const pid of asked) get(pid, next.get(pid) ?? end, Math.min(12, end - (next.get(pid) ?? end)));
      for (const pid of asked) {
        const got = await answer();
        expect([got.pid, got.page]).to.deep.equal([pid, next.get(pid)]);
        const pages = got.content.byteLength / pageBytes;
        expect(pages).to.be.within(1, 12);
        expect(got.content.equals(pageOf(pid, got.page, pages))).to.equal(true);
        next.set(pid, got.page + pages);
      }
    }
    // Each pack once, though only eight fit into memory.
    expect(reader.readBytes).to.equal([...store.objects.values()].reduce((sum, object) => sum + object.byteLength, 0));
    theirs.destroy();
  });

  it('answers a page that was touched far ahead and goes on in order', async () => {
    const { server, get, answer, pageOf, theirs } = await setUp();
    server.fill();
    for (const page of [100, 190, 101]) {
      get(10_000, page, 1);
      expect((await answer()).content.equals(pageOf(10_000, page, 1))).to.equal(true);
    }
    theirs.destroy();
  });

  it('gives zeroes without reading any', async () => {
    const { server, get, answer, theirs } = await setUp();
    server.fill();
    get(10_001, 92, 4);
    expect((await answer()).content.equals(Buffer.alloc(4 * pageBytes))).to.equal(true);
    theirs.destroy();
  });

  it('confirms the end', async () => {
    const { theirs } = await setUp();
    theirs.write(encodeHeader({ command: command.close, flags: 0, page: 0, pages: 0, destination: 0n }));
    expect(await readBytes(theirs, 4)).to.deep.equal(Buffer.alloc(4));
    theirs.destroy();
  });

  const requests = [
    { name: 'pages that were never stored', pid: 10_000, page: 99, pages: 1, code: 'PAGE_PROTOCOL' },
    { name: 'another process', pid: 1, page: 100, pages: 1, code: 'PAGE_PROTOCOL' },
    { name: 'more than CRIU asks for', pid: 10_000, page: 100, pages: 5000, code: 'PAGE_PROTOCOL' },
  ];
  for (const { name, pid, page, pages, code } of requests) {
    it(`refuses ${name}`, async () => {
      const { get, failure, theirs } = await setUp();
      get(pid, page, pages);
      expect(await failure)
        .to.be.instanceOf(PodferryError)
        .with.property('code', code);
      theirs.destroy();
    });
  }

  it('sends nothing of a pack that is not what was stored', async () => {
    const { server, get, answer, failure, theirs, store } = await setUp();
    server.fill();
    store.objects.get('p/5')?.fill(0, 7, 8);
    get(10_000, 100, 1);
    await answer();
    get(10_000, 100 + 5 * packPages, 1);
    expect(await failure)
      .to.be.instanceOf(PodferryError)
      .with.property('code', 'OBJECT_CORRUPT');
    expect(theirs.readableLength).to.equal(0);
    theirs.destroy();
  });

  it('lets a touched page wait for one read besides its own, which begins at once', async () => {
    const { store, get, answer, pageOf, theirs, server } = await setUp();
    store.close();
    get(10_000, 100, packPages * 3);
    get(10_000, 100 + 5 * packPages, 1);
    // Both are asked of the store before either is answered.
    await eventually('both reads', () => store.waiting === 2);
    store.letThrough(2);
    const range = await answer();
    expect(range.content.equals(pageOf(10_000, 100, packPages))).to.equal(true);
    expect((await answer()).content.equals(pageOf(10_000, 100 + 5 * packPages, 1))).to.equal(true);
    expect(server.counts).to.include({ faults: 1, aheadMisses: 2, servedPages: packPages + 1 });
    server.stop();
    theirs.destroy();
  });

  it('reads nothing before it is told to fill, but for a touched page and what was asked for before it', async () => {
    const { store, get, answer, pageOf, theirs, server, ours } = await setUp();
    get(10_000, 100, packPages * 3);
    await eventually('the request', () => ours.bytesRead === headerBytes);
    await new Promise(setImmediate);
    expect(store.reads).to.equal(0);
    get(10_000, 100 + 5 * packPages, 1);
    expect((await answer()).content.equals(pageOf(10_000, 100, packPages))).to.equal(true);
    expect((await answer()).content.equals(pageOf(10_000, 100 + 5 * packPages, 1))).to.equal(true);
    get(10_001, 100, packPages);
    await eventually('the request', () => ours.bytesRead === 3 * headerBytes);
    await new Promise(setImmediate);
    expect(store.reads).to.equal(2);
    server.fill();
    expect((await answer()).content.equals(pageOf(10_001, 100, packPages))).to.equal(true);
    theirs.destroy();
  });

  it('answers nothing after it was stopped', async () => {
    const { server, get, theirs, ours } = await setUp();
    server.stop();
    get(10_000, 100, 1);
    await eventually('the request', () => ours.bytesRead === headerBytes);
    expect(server.counts.servedPages).to.equal(0);
    theirs.destroy();
  });
});
