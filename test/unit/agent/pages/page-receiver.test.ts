import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { command, encodeHeader, pageFlags } from '../../../../agent/criu/page-xfer.ts';
import { PageReceiver } from '../../../../agent/pages/page-receiver.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import type { PageImage } from '../../../../agent/store/manifest.ts';
import { frameOverhead } from '../../../../agent/store/frames.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { PackUpload, PackWriter } from '../../../../agent/store/pack-writer.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { readBytes, socketPair } from './socket-pair.ts';

const lazy = pageFlags.lazy | pageFlags.present;
const packPages = 64;

type Socket = Awaited<ReturnType<typeof socketPair>>['theirs'];

/** Plays CRIU towards the receiver. */
class Dumper {
  constructor(readonly socket: Socket) {}
  #send(what: number, flags: number, page: number, pages: number, destination: bigint): void {
    this.socket.write(encodeHeader({ command: what, flags, page, pages, destination }));
  }
  async open(pid: number): Promise<void> {
    this.#send(command.open, 0, 0, 0, (BigInt(pid) << 8n) | 1n);
    expect(await readBytes(this.socket, 1)).to.deep.equal(Buffer.from([0]));
  }
  add(page: number, content: Buffer, flags = lazy): void {
    this.#send(command.add, flags, page, content.byteLength / pageBytes, 0n);
    this.socket.write(content);
  }
  async close(): Promise<void> {
    this.#send(command.close, 0, 0, 0, 0n);
    expect(await readBytes(this.socket, 4)).to.deep.equal(Buffer.alloc(4));
  }
}

async function setUp(buffers: number) {
  const store = new MemoryStore();
  const failed: unknown[] = [];
  const controller = new AbortController();
  const sealing = sealingFor('i-1');
  const upload = new PackUpload({
    store,
    keyPrefix: 'p/',
    pool: new BufferPool(buffers, packPages * pageBytes),
    parallel: 2,
    sealing,
    signal: controller.signal,
    fail: (error) => failed.push(error),
  });
  const local = new PackWriter(upload);
  const { ours, theirs } = await socketPair();
  let firsts = 0;
  const failure = new Promise<unknown>((resolve) => {
    failed.push = (error) => {
      resolve(error);
      return 1;
    };
  });
  const receiver = new PageReceiver(
    ours,
    { local, lazy: new PackWriter(upload) },
    () => (firsts += 1),
    (error) => failed.push(error),
  );
  /** The content of an image, page by page as stored. */
  const stored = async (image: PageImage): Promise<Map<number, Buffer>> => {
    local.seal();
    const packs = await upload.finish();
    const pages = new Map<number, Buffer>();
    const reader = new PackReader({
      store,
      packs,
      pool: new BufferPool(packs.length, packPages * pageBytes),
      sealing,
      signal: controller.signal,
    });
    for (const run of image.runs) {
      const pack = run.pack < 0 ? undefined : await reader.hold(run.pack);
      for (let i = 0; i < run.pages; i += 1) {
        const from = (run.at + i) * pageBytes;
        pages.set(run.page + i, pack === undefined ? Buffer.alloc(pageBytes) : pack.subarray(from, from + pageBytes));
      }
    }
    return pages;
  };
  return { dumper: new Dumper(theirs), receiver, store, stored, failure, firsts: () => firsts, theirs };
}

describe('PageReceiver', () => {
  it('stores every page where its index says, through fewer buffers than pages', async () => {
    const { dumper, receiver, stored, firsts, store } = await setUp(3);
    const content = randomBytes(700 * pageBytes);
    for (const page of [0, 1, 63, 64, 200, 201, 202, 699]) content.fill(0, page * pageBytes, (page + 1) * pageBytes);
    const stack = randomBytes(2 * pageBytes);
    await dumper.open(10_000);
    dumper.add(1000, content.subarray(0, 300 * pageBytes));
    dumper.add(1300, content.subarray(300 * pageBytes));
    dumper.add(5000, stack, pageFlags.present);
    await dumper.close();

    const [image] = receiver.finish();
    expect(receiver.pageBytes).to.equal(702 * pageBytes);
    expect(firsts()).to.equal(1);
    const pages = await stored(image ?? { kind: 'pid', id: 0, runs: PageRuns.of([]) });
    expect(image?.id).to.equal(10_000);
    expect([...pages.keys()]).to.have.length(702);
    for (let i = 0; i < 700; i += 1) {
      expect(pages.get(1000 + i)?.equals(content.subarray(i * pageBytes, (i + 1) * pageBytes)), `page ${i}`).to.equal(
        true,
      );
    }
    expect(Buffer.concat([pages.get(5000) ?? stack, pages.get(5001) ?? stack]).equals(stack)).to.equal(true);
    const bytes = [...store.objects.values()].reduce((sum, object) => sum + object.byteLength, 0);
    // Random content does not shrink; each pack of theirs is one sealed frame.
    expect(bytes).to.equal((702 - 8) * pageBytes + store.objects.size * frameOverhead);
  });

  it('keeps what a restore needs first apart from the rest', async () => {
    const { dumper, receiver, stored } = await setUp(4);
    await dumper.open(1);
    dumper.add(10, randomBytes(pageBytes));
    dumper.add(11, randomBytes(pageBytes), pageFlags.present);
    dumper.add(12, randomBytes(pageBytes));
    await dumper.close();
    const [image] = receiver.finish();
    await stored(image ?? { kind: 'pid', id: 0, runs: PageRuns.of([]) });
    const [first, second, third] = image?.runs ?? [];
    expect(first?.pack).to.equal(third?.pack).and.not.equal(second?.pack);
  });

  it('waits without reading on while no buffer is free', async () => {
    const { dumper, receiver, store, theirs } = await setUp(2);
    store.hangs = true;
    await dumper.open(1);
    dumper.add(0, randomBytes(40 * packPages * pageBytes));
    await new Promise<void>((resolve) => {
      const poll = setInterval(() => {
        if (receiver.pageBytes < 2 * packPages * pageBytes) return;
        clearInterval(poll);
        resolve();
      }, 1);
    });
    expect(receiver.pageBytes).to.equal(2 * packPages * pageBytes);
    expect(theirs.writableLength).to.be.greaterThan(0);
    receiver.destroy();
    theirs.destroy();
  });

  const violations: { name: string; play: (dumper: Dumper) => Promise<void> | void }[] = [
    { name: 'pages before an image', play: (d) => d.add(0, Buffer.alloc(pageBytes)) },
    { name: 'pages of a parent', play: (d) => d.open(1).then(() => d.add(0, Buffer.alloc(0), pageFlags.parent)) },
    {
      name: 'an image twice',
      play: (d) =>
        d
          .open(1)
          .then(
            () =>
              void d.socket.write(
                encodeHeader({ command: command.open, flags: 0, page: 0, pages: 0, destination: 257n }),
              ),
          ),
    },
    { name: 'an unknown command', play: (d) => void d.socket.write(Buffer.alloc(32, 1)) },
  ];
  for (const { name, play } of violations) {
    it(`refuses ${name}`, async () => {
      const { dumper, receiver, failure, theirs } = await setUp(2);
      await play(dumper);
      expect(await failure)
        .to.be.instanceOf(PodferryError)
        .with.property('code', 'PAGE_PROTOCOL');
      receiver.destroy();
      theirs.destroy();
    });
  }

  it('refuses a dump that ended without closing', async () => {
    const { dumper, receiver, theirs } = await setUp(2);
    await dumper.open(1);
    expect(() => receiver.finish())
      .to.throw(PodferryError)
      .with.property('code', 'PAGE_PROTOCOL');
    theirs.destroy();
  });
});
