import { existsSync, openSync, readSync, closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { readProcess } from '../../../../agent/launch/proc-stat.ts';
import { PageHasher } from '../../../../agent/memory/page-hasher.ts';
import { wordOfPack, wordsOfPage, chunkPages } from '../../../../agent/memory/page-table.ts';
import { preCopy } from '../../../../agent/memory/pre-copy.ts';
import { MemorySession, readAddressSpace, type KnownProcess } from '../../../../agent/memory/session.ts';
import { Tracker } from '../../../../agent/profiler/tracker.ts';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { Programs, Target, whyNot } from './target.ts';

const areaPages = 8192;

describe('copying ahead with writes tracked', function () {
  this.timeout(60_000);
  let programs: Programs | undefined;
  let target: Target;
  let page: number;
  let session: MemorySession;
  let tracking: WriteTracking;
  let fallbacks: string[];

  before(async function () {
    const reason = whyNot();
    if (reason === undefined) {
      programs = new Programs();
      const probed = new Tracker(programs.placeholder);
      const failure = await probed.probe().catch((error: unknown) => error);
      await probed.close();
      if (failure === undefined) return;
      console.log('      skipped:', failure);
    } else console.log(`      skipped: ${reason}`);
    this.skip();
  });
  after(() => programs?.remove());
  beforeEach(async () => {
    ({ target, page } = await Target.start(programs?.target ?? '', 'idle', String(areaPages)));
    await open(programs?.placeholder ?? '');
  });
  afterEach(async () => {
    await session.close();
    await target.kill();
  });

  async function open(binary: string): Promise<void> {
    fallbacks = [];
    tracking = new WriteTracking({ binary, onFallback: (why) => fallbacks.push(why) });
    session = new MemorySession(target.pid, tracking);
    await session.ready();
  }

  /** One round. @returns how many pages were read */
  async function round(): Promise<number> {
    const { scanner } = session;
    const pass = scanner.pass.bind(scanner);
    let read = 0;
    scanner.pass = async (options) => {
      const counts = await pass(options);
      read += counts.present;
      return counts;
    };
    const { signal } = new AbortController();
    const place = { store: new MemoryStore(), keyPrefix: 'a/', sealing: sealingFor('one'), signal, fail: console.log };
    await preCopy(session, session.startUpload(place), { budgetMs: 0, maxRounds: 1 }, signal);
    scanner.pass = pass;
    return read;
  }

  const known = (pid: number): KnownProcess => {
    const found = [...session.processes].find((each) => each.pid === pid);
    if (found === undefined) throw new Error(`${pid} is not known`);
    return found;
  };

  /** Whether the table has what is in these pages now. */
  function isTrue(pid: number, from = page, pages = areaPages): boolean {
    const { chunks } = known(pid);
    const hasher = new PageHasher(1, session.table.seed);
    const memory = openSync(`/proc/${pid}/mem`, 'r');
    try {
      for (let at = from; at < from + pages; at += 1) {
        readSync(memory, hasher.memory, 0, pageBytes, at * pageBytes);
        hasher.hash(0, 1);
        const slot = chunks.slots.get(Math.floor(at / chunkPages));
        const entries = slot === undefined ? undefined : session.table.entries(slot);
        const word = (at % chunkPages) * wordsOfPage;
        const isSame = entries?.[word] === hasher.hashes[0] && entries?.[word + 1] === hasher.hashes[1];
        if (!isSame || (entries?.[word + wordOfPack] ?? -2) < -1) return false;
      }
    } finally {
      closeSync(memory);
    }
    return true;
  }

  it('reads everything once, and then only what was written', async () => {
    expect(await round()).to.be.greaterThan(areaPages);
    const present = session.presentBytes ?? 0;
    await target.tell('w 5000');
    expect(await round()).to.be.lessThan(60);
    expect(isTrue(target.pid)).to.equal(true);
    expect(session.presentBytes).to.be.within(present - 1e6, present + 1e6);
    expect(fallbacks).to.deep.equal([]);
  });

  it('forgets pages that are not there any more, or that nobody may read', async () => {
    await round();
    await target.tell('w 11');
    await target.tell('d 5');
    await target.tell('p 11');
    expect(await round()).to.be.lessThan(60);
    const { chunks } = known(target.pid);
    expect([4, 5, 11].map((each) => session.table.placeOf(chunks, page + each) !== undefined)).to.deep.equal([
      ...[true, false, false],
    ]);
  });

  it('reads memory that is mapped anew, or moved, wholly', async () => {
    await round();
    await target.tell('u 8');
    expect(await round()).to.be.lessThan(60);
    expect(isTrue(target.pid)).to.equal(true);
  });

  it('follows memory that is moved', async () => {
    await round();
    page = await target.tell('m');
    expect(await round()).to.be.greaterThan(areaPages - 1);
    expect(isTrue(target.pid)).to.equal(true);
    expect(await round()).to.be.lessThan(60);
  });

  it('reads a forked child wholly, and from then on what it writes', async () => {
    await round();
    const child = await target.fork();
    expect(await round()).to.be.greaterThan(areaPages);
    await target.tell('w 9');
    expect(await round()).to.be.lessThan(120);
    for (const pid of [target.pid, child]) expect(isTrue(pid)).to.equal(true);
  });

  it('reads a process wholly that executes another program, and then tracks that', async () => {
    await round();
    target.write('x');
    page = await target.next('up');
    expect(await round()).to.be.greaterThan(areaPages);
    await target.tell('w 9');
    expect(await round()).to.be.lessThan(60);
    expect(isTrue(target.pid)).to.equal(true);
  });

  it('reads everything when the tracker is killed, and loses nothing', async () => {
    await round();
    await target.tell('w 7');
    const tracker = tracking.pid ?? 0;
    process.kill(tracker, 'SIGKILL');
    while (existsSync(`/proc/${tracker}`)) await delay(1);
    await target.tell('w 8');
    for (let times = 0; times < 2; times += 1) {
      expect(await round()).to.be.greaterThan(areaPages);
      expect(isTrue(target.pid)).to.equal(true);
      await target.tell('w 9');
    }
    expect(fallbacks).to.deep.equal(['the program that tracks writes has ended']);
  });

  it('reads everything where writes cannot be tracked', async () => {
    await session.close();
    await open('/nonexistent');
    for (let times = 0; times < 2; times += 1) expect(await round()).to.be.greaterThan(areaPages);
    expect(isTrue(target.pid)).to.equal(true);
    expect(fallbacks).to.have.length(1);
  });

  it('goes on when a process ends meanwhile', async () => {
    const child = await target.fork();
    await round();
    process.kill(child, 'SIGKILL');
    while (!['Z', 'X', undefined].includes(readProcess(child)?.state)) await delay(1);
    expect(await round()).to.be.lessThan(120);
    expect(isTrue(target.pid)).to.equal(true);
    expect([...session.processes].map(({ pid }) => pid)).to.deep.equal([target.pid]);
    expect(readAddressSpace(child)?.lazy ?? []).to.deep.equal([]);
  });
});
