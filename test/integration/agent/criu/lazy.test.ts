import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { restoreCheckpoint, type RestoredTree, type RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import type { LazyCare } from '../../../../agent/checkpoint/restore-tree.ts';
import { takeCheckpoint, type TakenCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { guardFaults } from '../../../../agent/launch/fault-guard.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { GatedStore } from '../../../fakes/gated-store.ts';
import { continueAll, killTree, Rig, statusField, until, whyNot, type Container } from './rig.ts';

const sealing = sealingFor('one');
const python = '/usr/bin/python3';
const mib = 256;

/** On SIGUSR2 it says that it lives, on SIGUSR1 it prints the digest of its memory. */
const script = `
import hashlib, mmap, os, signal, sys, time
memory = mmap.mmap(-1, ${mib} << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block = os.urandom(1 << 20)
for i in range(${mib}):
    memory.write(block[i:] + block[:i])
def say(word):
    sys.stdout.write(word + '\\n')
    sys.stdout.flush()
signal.signal(signal.SIGUSR1, lambda *_: say('sum ' + hashlib.sha256(memory).hexdigest()))
signal.signal(signal.SIGUSR2, lambda *_: say('alive'))
say('sum ' + hashlib.sha256(memory).hexdigest())
while True:
    time.sleep(0.02)
`;

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return error instanceof PodferryError ? error.code : String(error);
  }
  return 'none';
}

const line = async (container: Container, word: string): Promise<string> =>
  until(`"${word}"`, async () => (await container.lines()).find((text) => text.startsWith(word)));

describe('a lazy restore', function () {
  this.timeout(120_000);
  let rig: Rig;
  let store: GatedStore;
  let taken: TakenCheckpoint;
  let sum: string;
  let target: Container;
  let fillerPid: number;
  let care: LazyCare;

  before(function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
  });
  beforeEach(async () => {
    rig = await Rig.make();
    const binary = rig.placeholder;
    store = new GatedStore();
    const source = await rig.container('source');
    const pid = await rig.start(source, [python, '-c', script]);
    sum = await line(source, 'sum');
    taken = await takeCheckpoint({
      ...rig.taking(source, pid),
      store,
      keyPrefix: 'test/',
      sealing,
    });
    await killTree(pid);
    target = await rig.container('target');
    care = {
      guard: (rootPid, ofFiller) => {
        fillerPid = ofFiller;
        const cgroupProcs: string[] = [];
        return guardFaults({ entrypointPid: target.pid, rootPid, fillerPid, cgroupProcs, binary, deadlineMs: 5_000 });
      },
    };
  });
  afterEach(() => rig.close());

  async function restore(more: Partial<RestoreOptions> = {}): Promise<RestoredTree> {
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: taken.ref,
      sealing,
      lazy: care,
      ...more,
    });
    rig.onClose(() => killTree(tree.rootPid));
    for (const pid of tree.pids) expect(await statusField(pid, 'State')).to.match(/^T /);
    return tree;
  }

  /** As the agent does: the guard, and then the pages. */
  async function restoreAndFill(more: Partial<RestoreOptions> = {}): Promise<RestoredTree> {
    const tree = await restore(more);
    expect(await tree.prepare()).to.equal(undefined);
    tree.fill();
    return tree;
  }

  /** Closes the store's gate as soon as CRIU is done. */
  const gated: Partial<RestoreOptions> = {
    prefetchWorkers: 1,
    runRestore: async (run) => {
      await rig.runRestore(run);
      store.close();
    },
  };

  async function expectDead(tree: RestoredTree): Promise<void> {
    for (const pid of tree.pids) expect(await statusField(pid, 'State')).to.be.oneOf([undefined, 'Z (zombie)']);
    expect(existsSync(join(rig.dir, 'restore'))).to.equal(false);
  }

  it('runs before its pages are there, and has the right ones in the end', async () => {
    const tree = await restoreAndFill(gated);
    let isDrained = false;
    void tree.drained.then(() => (isDrained = true));
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR2');
    await until('a sign of life', async () => {
      store.letThrough(1);
      return (await target.lines()).includes('alive') ? true : undefined;
    });
    expect(isDrained).to.equal(false);
    store.open();
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
    const { drainMs, counts, storedBytes } = await tree.drained;
    expect(counts.servedPages).to.be.greaterThan(mib * 256);
    expect(counts.faults).to.be.greaterThan(0);
    expect(storedBytes).to.be.greaterThan(mib << 20);
    expect(existsSync(join(rig.dir, 'restore'))).to.equal(false);
    console.log(`      restored in ${tree.tookMs} ms, drained in ${drainMs} ms`, JSON.stringify(counts));
    console.log(`      ${tree.timeline.map(({ step, ms }) => `${step} ${ms}`).join(', ')}`);
  });

  it('gets only what it touches until the filling begins', async () => {
    const tree = await restore();
    expect(await tree.prepare()).to.equal(undefined);
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR2');
    await until('a sign of life', async () => ((await target.lines()).includes('alive') ? true : undefined));
    expect(store.reads).to.be.lessThan(mib / 8);
    tree.fill();
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
    await tree.drained;
  });

  it('is dead when it fails before its guard is set up', async () => {
    const guard = async (): Promise<never> => Promise.reject(new PodferryError('CRIU_RESTORE_FAILED', 'no guard'));
    const tree = await restore({ lazy: { guard }, hotSeed: false });
    store.failNext();
    expect(await codeOf(tree.prepare())).to.equal('STORE_READ_FAILED');
    expect(await codeOf(tree.drained)).to.equal('STORE_READ_FAILED');
    await expectDead(tree);
  });

  it('drains from a slow store', async () => {
    store.delayMs = 20;
    const tree = await restoreAndFill();
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
    const { drainMs, counts } = await tree.drained;
    console.log(`      restored in ${tree.tookMs} ms, drained in ${drainMs} ms`, JSON.stringify(counts));
  });

  it('works without reading ahead', async () => {
    const tree = await restoreAndFill({ prefetchWorkers: 0, faultPromotion: false });
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
    const { aheadHits, aheadMisses } = (await tree.drained).counts;
    expect(aheadMisses).to.be.greaterThan(aheadHits);
  });

  it('drains while it is stopped', async () => {
    const tree = await restoreAndFill();
    await tree.drained;
    expect(await statusField(tree.rootPid, 'State')).to.match(/^T /);
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
  });

  it('is over when the application ends in the middle', async () => {
    const tree = await restoreAndFill(gated);
    await killTree(tree.rootPid);
    store.open();
    expect(await codeOf(tree.drained)).to.equal('none');
  });

  it('is dead, never wrong, when the store fails in the middle; then it can be restored again', async () => {
    // What fails while hot pages are read ahead is only read again.
    const tree = await restoreAndFill({ ...gated, hotSeed: false });
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    store.letThrough(2);
    store.failNext();
    expect(await codeOf(tree.drained)).to.equal('STORE_READ_FAILED');
    await expectDead(tree);
    expect(await target.lines()).to.deep.equal([]);

    store.open();
    // Its parent reaps it when it pleases.
    await until('a free pid', async () => (existsSync(`/proc/${tree.rootPid}`) ? undefined : true));
    const again = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: taken.ref,
      sealing,
    });
    rig.onClose(() => killTree(again.rootPid));
    continueAll(again.pids);
    process.kill(again.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
  });

  /** As the agent's would be, but for the agent: it has died, and with it the guard's standard input. */
  const orphanedGuard: LazyCare['guard'] = async (rootPid, ofFiller) => {
    fillerPid = ofFiller;
    const pids = [target.pid, rootPid, ofFiller].map(String);
    const child = spawn(rig.placeholder, ['hold-faults', ...pids], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(said.toString()).to.equal('held 1\n');
    child.stdin.end();
    return { held: 1, release: async () => void (await ended) };
  };

  for (const { name, guard } of [
    { name: 'its guard holds on', guard: undefined },
    { name: 'so is the agent', guard: orphanedGuard },
  ]) {
    it(`waits for missing pages when the filler is killed, until it is killed itself: ${name}`, async () => {
      let seen: readonly string[] | undefined;
      const beforeKill = async (): Promise<void> => {
        // Without the guard it would have read zeroes by now, and printed their digest.
        await delay(500);
        seen = await target.lines();
      };
      const tree = await restoreAndFill({ ...gated, lazy: { guard: guard ?? care.guard, beforeKill } });
      continueAll(tree.pids);
      process.kill(tree.rootPid, 'SIGUSR1');
      process.kill(fillerPid, 'SIGKILL');
      expect(await codeOf(tree.drained)).to.equal('CRIU_RESTORE_FAILED');
      expect(seen).to.deep.equal([]);
      await expectDead(tree);
      expect(await target.lines()).to.deep.equal([]);
    });
  }

  it('cannot be guarded when the filler has ended', async () => {
    const binary = rig.placeholder;
    const gone = 2 ** 22 - 1;
    const guard = (rootPid: number, ofFiller: number, program = binary) =>
      guardFaults({
        entrypointPid: target.pid,
        rootPid,
        fillerPid: ofFiller,
        cgroupProcs: [],
        binary: program,
        deadlineMs: 5_000,
      });
    expect(await codeOf(guard(target.pid, gone))).to.equal('CRIU_RESTORE_FAILED');
    expect(await codeOf(guard(gone, target.pid))).to.equal('CRIU_RESTORE_FAILED');
    expect(await codeOf(guard(target.pid, target.pid, '/nonexistent'))).to.equal('CRIU_RESTORE_FAILED');
    const nothing = await guard(target.pid, target.pid);
    expect(nothing.held).to.equal(0);
    await nothing.release();
  });

  it('puts every page in first when nobody can guard it', async () => {
    const failure = new PodferryError('CRIU_RESTORE_FAILED', 'no guard');
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: taken.ref,
      sealing,
      lazy: { guard: () => Promise.reject(failure) },
    });
    rig.onClose(() => killTree(tree.rootPid));
    expect(await tree.prepare()).to.equal(failure);
    await tree.drained;
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
  });

  it('puts every page in first when its guard holds less than there is: of a filler that ends nothing can be had', async () => {
    let isReleased = false;
    const release = async (): Promise<void> => void (isReleased = true);
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: taken.ref,
      sealing,
      lazy: { guard: async () => ({ held: 0, release }) },
    });
    rig.onClose(() => killTree(tree.rootPid));
    expect(await tree.prepare()).to.include({ code: 'CRIU_RESTORE_FAILED' });
    expect(isReleased).to.equal(true);
    await tree.drained;
    continueAll(tree.pids);
    process.kill(tree.rootPid, 'SIGUSR1');
    expect(await line(target, 'sum')).to.equal(sum);
  });

  it('is dead, never run on, when the filler is killed before the guard holds anything', async () => {
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: taken.ref,
      sealing,
      lazy: {
        guard: async (_rootPid, fillerPid) => {
          process.kill(fillerPid, 'SIGKILL');
          return { held: 0, release: async () => undefined };
        },
      },
    });
    rig.onClose(() => killTree(tree.rootPid));
    const drained = codeOf(tree.drained);
    expect(await codeOf(tree.prepare())).to.equal('CRIU_RESTORE_FAILED');
    expect(await drained).to.equal('CRIU_RESTORE_FAILED');
    for (const pid of tree.pids) expect(await statusField(pid, 'State')).to.be.oneOf([undefined, 'Z (zombie)']);
  });
});

const changing = fileURLToPath(new URL('changing.c', import.meta.url));
const cc = '/usr/bin/gcc';

describe('a lazy restore of a process that changes its address space', function () {
  this.timeout(60_000);
  let rig: Rig;

  before(function () {
    const reason = whyNot() ?? (existsSync(cc) ? undefined : 'needs gcc');
    if (reason === undefined) return;
    console.log(`      skipped: ${reason}`);
    this.skip();
  });
  beforeEach(async () => (rig = await Rig.make()));
  afterEach(() => rig.close());

  for (const { name, prefetchWorkers, letThrough } of [
    { name: 'while pages are filled in', prefetchWorkers: 4, letThrough: Number.POSITIVE_INFINITY },
    { name: 'and gets only what it touches', prefetchWorkers: 4, letThrough: 0 },
  ]) {
    it(`follows it: forks, moves, unmaps, drops and grows mappings ${name}`, async () => {
      const program = join(rig.dir, 'changing');
      execFileSync(cc, ['-O2', '-o', program, changing]);
      const store = new GatedStore();
      const source = await rig.container('source');
      const pid = await rig.start(source, [program]);
      await line(source, 'ready');
      const taken = await takeCheckpoint({
        ...rig.taking(source, pid),
        store,
        keyPrefix: 'test/',
        sealing,
      });
      await killTree(pid);
      const target = await rig.container('target');
      const tree = await restoreCheckpoint({
        ...rig.restoring(target),
        store,
        ref: taken.ref,
        sealing,
        prefetchWorkers,
        lazy: {
          guard: (rootPid, fillerPid) =>
            guardFaults({
              entrypointPid: target.pid,
              rootPid,
              fillerPid,
              cgroupProcs: [],
              binary: rig.placeholder,
              deadlineMs: 5_000,
            }),
        },
      });
      rig.onClose(() => killTree(tree.rootPid));
      expect(await tree.prepare()).to.equal(undefined);
      continueAll(tree.pids);
      process.kill(tree.rootPid, 'SIGUSR1');
      if (letThrough > 0) tree.fill();
      const said = await until('its word', async () => (await target.lines())[0], 40_000);
      expect(said).to.equal('right');
      tree.fill();
      const { counts } = await tree.drained;
      console.log(`      ${JSON.stringify(counts)}`);
    });
  }
});
