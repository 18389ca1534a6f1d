import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Filler, PagesFor, Touch } from '../../../../agent/pages/filler.ts';
import { PageFilling, type PageFillingOptions } from '../../../../agent/pages/page-filling.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import type { PageImage } from '../../../../agent/store/manifest.ts';
import { PackReader } from '../../../../agent/store/pack-reader.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';
import { GatedStore } from '../../../fakes/gated-store.ts';
import { sealingFor, storePack } from '../../../fakes/sealing.ts';

const flags = 6;
const images: readonly PageImage[] = [
  {
    kind: 'pid',
    id: 10,
    runs: PageRuns.of([
      { page: 1000, pages: 200, flags, pack: 0, at: 10 },
      { page: 1200, pages: 50, flags, pack: -1, at: 0 },
      { page: 1300, pages: 10, flags, pack: 1, at: 0 },
      { page: 1400, pages: 3, flags: 4, pack: 1, at: 20 },
    ]),
  },
  { kind: 'pid', id: 11, runs: PageRuns.of([{ page: 7, pages: 1, flags, pack: 0, at: 9 }]) },
];

/** Keeps what it is given, as the process' memory would. */
class FakeFiller implements Filler {
  readonly pid = 1;
  readonly done = Promise.resolve();
  readonly urgent: PagesFor[] = [];
  readonly calm: PagesFor[] = [];
  readonly memory = new Map<string, Buffer>();
  isEnded = false;
  touch: (touch: Touch) => void = () => undefined;

  expect(): void {}
  onTouch(listener: (touch: Touch) => void): void {
    this.touch = listener;
  }
  async putNow(pages: readonly PagesFor[]): Promise<void> {
    this.#put(pages);
    this.urgent.push(...pages);
  }
  async put(pages: readonly PagesFor[]): Promise<void> {
    this.#put(pages);
    this.calm.push(...pages);
  }
  end(): void {
    this.isEnded = true;
  }
  async kill(): Promise<void> {}

  #put(all: readonly PagesFor[]): void {
    for (const { pid, page, pages, bytes, at } of all) {
      for (let i = 0; i < pages; i += 1) {
        const from = at + i * pageBytes;
        this.memory.set(`${pid} ${page + i}`, Buffer.from(bytes.subarray(from, from + pageBytes)));
      }
    }
  }
}

function setUp(more: Partial<PageFillingOptions> = {}) {
  const store = new GatedStore();
  const sealing = sealingFor('i-1');
  const content = [randomBytes(210 * pageBytes), randomBytes(30 * pageBytes)];
  const packs = content.map((bytes, i) => storePack(store, sealing, `p/${i}`, bytes));
  const pool = new BufferPool(2, 256 * pageBytes);
  const reader = new PackReader({ store, packs, pool, sealing, signal: new AbortController().signal });
  const filler = new FakeFiller();
  const failures: unknown[] = [];
  const filling = new PageFilling({ filler, images, reader, fail: (error) => failures.push(error), ...more });
  const page = (pack: number, at: number): Buffer | undefined =>
    content[pack]?.subarray(at * pageBytes, (at + 1) * pageBytes);
  return { store, filler, filling, failures, page };
}

async function until(is: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !is(); i += 1) await delay(5);
  expect(is()).to.equal(true);
}

describe('PageFilling', () => {
  for (const prefetchWorkers of [0, 1, 4]) {
    it(`puts every page in once, where it belongs, reading ${prefetchWorkers} packs ahead`, async () => {
      const { filler, filling, failures, page } = setUp({ prefetchWorkers });
      filling.fill();
      await until(() => filler.isEnded);
      expect(failures).to.deep.equal([]);
      expect(filler.memory.size, 'neither zeroes nor what CRIU has put in itself').to.equal(211);
      expect(filler.calm.reduce((sum, { pages }) => sum + pages, 0)).to.equal(211);
      for (const [name, pack, at] of [
        ['10 1000', 0, 10],
        ['10 1199', 0, 209],
        ['10 1309', 1, 9],
        ['11 7', 0, 9],
      ] as const) {
        expect(filler.memory.get(name)?.equals(page(pack, at) ?? Buffer.alloc(0)), name).to.equal(true);
      }
      expect(filling.counts).to.include({ servedPages: 211, faults: 0 });
    });
  }

  it('puts in what is touched with its neighbours, before the filling begins', async () => {
    const { filler, filling, page } = setUp();
    filler.touch({ pid: 10, page: 1004 });
    filler.touch({ pid: 10, page: 1004 });
    await until(() => filler.urgent.length > 0);
    expect(filler.urgent.map(({ page: first, pages }) => [first, pages])).to.deep.equal([[1000, 8]]);
    expect(filler.memory.get('10 1004')?.equals(page(0, 14) ?? Buffer.alloc(0))).to.equal(true);
    await until(() => filling.counts.faults === 1);
    expect(filling.counts).to.include({ faultPages: 8, aheadMisses: 1 });
  });

  it('puts in the whole frame of a touched page, and opens it once', async () => {
    const { store, filler, filling, failures } = setUp({ prefetchWorkers: 0 });
    const calm = (): number => filler.calm.reduce((sum, { pages }) => sum + pages, 0);
    filler.touch({ pid: 10, page: 1004 });
    await until(() => calm() === 55);
    expect(filler.memory.has('11 7'), "another process' page of that frame").to.equal(true);
    filler.touch({ pid: 10, page: 1300 });
    await until(() => calm() === 65);
    const before = store.reads;
    filling.fill();
    await until(() => filler.isEnded);
    expect(failures).to.deep.equal([]);
    expect(calm(), 'each page once').to.equal(211);
    expect(store.reads - before, 'the pack of which all is in is not read').to.equal(1);
  });

  it('says the end when what was touched last is in', async () => {
    const { store, filler, filling } = setUp({ prefetchWorkers: 0 });
    for (const page of [1004, 1060, 1130, 1190, 1300]) filler.touch({ pid: 10, page });
    await until(() => filler.memory.size === 211);
    store.close();
    filling.fill();
    await until(() => filler.isEnded);
    expect(filler.memory.size).to.equal(211);
  });

  it('stays within the run and the frame of a touched page', async () => {
    const { filler } = setUp();
    filler.touch({ pid: 10, page: 1308 });
    filler.touch({ pid: 10, page: 1055 });
    await until(() => filler.urgent.length === 2);
    const ranges = filler.urgent.map(({ page: first, pages }) => [first, pages]);
    expect(ranges).to.have.deep.members([
      [1054, 2],
      [1300, 10],
    ]);
  });

  it('puts in hot pages first', async () => {
    const { filler, filling } = setUp({ hot: [{ id: 10, ranges: [[1190, 5]] }] });
    filling.fill();
    await until(() => filler.isEnded);
    expect(filler.calm[0]).to.include({ pid: 10, page: 1182, pages: 18 });
    expect(filling.counts.hotPages).to.equal(5);
  });

  it('lets touched pages wait for their turn when they are not to be promoted', async () => {
    const { filler, filling, store } = setUp({ faultPromotion: false });
    store.close();
    filling.fill();
    filler.touch({ pid: 10, page: 1000 });
    await delay(20);
    expect(filler.urgent).to.deep.equal([]);
    store.open();
    await until(() => filler.isEnded);
    expect(filler.urgent).to.have.length(1);
  });

  it('tells the first failure, once, and puts nothing more in', async () => {
    const { filler, filling, failures, store } = setUp();
    store.failNext();
    filling.fill();
    await until(() => failures.length > 0);
    expect(failures).to.have.length(1);
    expect(failures[0]).to.have.property('code', 'STORE_READ_FAILED');
    filler.touch({ pid: 10, page: 1000 });
    await delay(20);
    expect([filler.urgent.length, filler.isEnded]).to.deep.equal([0, false]);
  });

  it('refuses to give a page that was never stored', async () => {
    const { filler, failures } = setUp();
    filler.touch({ pid: 10, page: 1200 });
    await until(() => failures.length > 0);
    expect(failures[0]).to.have.property('code', 'PAGE_PROTOCOL');
  });
});
