import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { command, decodeHeader, encodeHeader, headerBytes } from '../../../../agent/criu/page-xfer.ts';
import { firstPacks, LazyServer } from '../../../../agent/pages/lazy-server.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import { sha256Hex, type PageImage } from '../../../../agent/store/manifest.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { readBytes, socketPair } from './socket-pair.ts';

const packPages = 16;
const packs = 12;
const lazy = 6;

/** Two processes of six packs each; the second one has zeroes in front. */
async function setUp() {
  const store = new MemoryStore();
  const content = randomBytes(packs * packPages * pageBytes);
  const list = Array.from({ length: packs }, (_, i) => {
    const bytes = content.subarray(i * packPages * pageBytes, (i + 1) * packPages * pageBytes);
    store.objects.set(`p/${i}`, Buffer.from(bytes));
    return { key: `p/${i}`, bytes: bytes.byteLength, sha256: sha256Hex(bytes) };
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
  const pool = new BufferPool(5, packPages * pageBytes);
  const reader = new PackReader({ store, packs: list, pool, signal: new AbortController().signal });
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
    const { get, answer, pageOf, theirs, reader } = await setUp();
    const step = 12;
    for (let page = 100; page < 100 + 6 * packPages; page += step) {
      for (const pid of [10_000, 10_001]) get(pid, page, step);
      for (const pid of [10_000, 10_001]) {
        const got = await answer();
        expect([got.pid, got.page]).to.deep.equal([pid, page]);
        expect(got.content.equals(pageOf(pid, page, step))).to.equal(true);
      }
    }
    // Each pack once, though only five fit into memory.
    expect(reader.readBytes).to.equal(packs * packPages * pageBytes);
    theirs.destroy();
  });

  it('answers a page that was touched far ahead and goes on in order', async () => {
    const { get, answer, pageOf, theirs } = await setUp();
    for (const page of [100, 190, 101]) {
      get(10_000, page, 1);
      expect((await answer()).content.equals(pageOf(10_000, page, 1))).to.equal(true);
    }
    theirs.destroy();
  });

  it('gives zeroes without reading any', async () => {
    const { get, answer, theirs } = await setUp();
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
    const { get, answer, failure, theirs, store } = await setUp();
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

  it('knows which packs are needed first: those of all processes in turn', async () => {
    const { images, theirs } = await setUp();
    expect(firstPacks(images)).to.deep.equal([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
    theirs.destroy();
  });
});
