import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { restoreCheckpoint, type RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import type { LazyCare } from '../../../../agent/checkpoint/restore-tree.ts';
import { takeCheckpoint, type TakenCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { guardFaults } from '../../../../agent/launch/fault-guard.ts';
import type { Baseline } from '../../../../agent/memory/baseline.ts';
import { MemorySession } from '../../../../agent/memory/session.ts';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';
import { parseManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { continueAll, killTree, Rig, treeOf, until, whyNot, type Container } from './rig.ts';

const script = fileURLToPath(new URL('memory.py', import.meta.url));
const keyPrefix = 'test/default/deployment-app/one/';
const sealing = sealingFor('one');

/** Where the application is, and what is stored of it. */
interface Place {
  readonly container: Container;
  readonly pids: readonly number[];
  readonly baseline: Baseline | undefined;
  /** To restore it. */
  readonly readBytes: number;
}

for (const isTracked of [false, true])
  describe(`one generation after another, ${isTracked ? 'writes tracked' : 'everything read each time'}`, function () {
    this.timeout(180_000);
    let rig: Rig;
    let store: MemoryStore;

    before(function () {
      const reason = whyNot();
      if (reason !== undefined) {
        console.log(`      skipped: ${reason}`);
        this.skip();
      }
    });
    beforeEach(async () => {
      rig = await Rig.make();
      store = new MemoryStore();
    });
    afterEach(() => rig.close());

    async function start(...argv: string[]): Promise<Place> {
      const container = await rig.container(`source-${randomUUID()}`);
      const pid = await rig.start(container, ['/usr/bin/python3', script, ...argv]);
      await lines(container, 'up', 1);
      return { container, pids: [pid], baseline: undefined, readBytes: 0 };
    }

    const lines = (from: Container, word: string, count: number): Promise<string[]> =>
      until(`${count} lines "${word}"`, async () => {
        const found = (await from.lines()).filter((line) => line.split(' ')[1] === word);
        return found.length >= count ? found : undefined;
      });
    const countOf = async (from: Container, word: string): Promise<number> =>
      (await from.lines()).filter((line) => line.split(' ')[1] === word).length;

    /** In each process. */
    async function change({ container, pids }: Place, says = pids.length): Promise<void> {
      const before = await countOf(container, 'changed');
      for (const pid of pids) process.kill(pid, 'SIGUSR2');
      await lines(container, 'changed', before + says);
    }

    async function sums({ container, pids }: Place): Promise<string[]> {
      const before = await countOf(container, 'sum');
      for (const pid of pids) process.kill(pid, 'SIGUSR1');
      return (await lines(container, 'sum', before + pids.length)).slice(before).toSorted();
    }

    /** Leaves it stopped. */
    async function take({ container, pids, baseline }: Place, maxRounds = 2): Promise<TakenCheckpoint> {
      const [rootPid = 0] = pids;
      const fallbacks: string[] = [];
      const onFallback = (why: string): void => void fallbacks.push(why);
      const tracking = isTracked ? new WriteTracking({ binary: rig.placeholder, onFallback }) : undefined;
      const session = new MemorySession(rootPid, tracking, baseline);
      try {
        const taken = await takeCheckpoint({
          ...rig.taking(container, rootPid),
          store,
          keyPrefix,
          sealing,
          memory: session,
          rounds: { budgetMs: 0, maxRounds },
        });
        expect(fallbacks).to.deep.equal([]);
        return taken;
      } finally {
        await session.close();
      }
    }

    async function restore({ ref }: TakenCheckpoint, more: Partial<RestoreOptions> = {}) {
      const container = await rig.container(`target-${randomUUID()}`);
      const tree = await restoreCheckpoint({
        ...rig.restoring(container),
        store,
        ref,
        sealing,
        ...more,
      });
      rig.onClose(() => killTree(tree.rootPid));
      return { tree, container };
    }

    async function restoreInFull(taken: TakenCheckpoint): Promise<Place> {
      const { tree, container } = await restore(taken);
      const { baseline, storedBytes: readBytes } = await tree.drained;
      continueAll(tree.pids);
      return { container, pids: tree.pids, baseline, readBytes };
    }

    async function move(place: Place): Promise<{ taken: TakenCheckpoint; next: Place }> {
      const taken = await take(place);
      await killTree(place.pids[0] ?? 0);
      return { taken, next: await restoreInFull(taken) };
    }

    const manifestOf = ({ ref }: TakenCheckpoint): Manifest =>
      parseManifest(store.objects.get(ref.manifestKey) ?? Buffer.alloc(0), sealing);

    it('stores only what changed since the last one, for whom it was restored from that', async () => {
      let { taken, next: place } = await move(await start('256'));
      const first = taken.transfer.storedBytes;
      expect(first).to.be.greaterThan(256 << 20);
      const said = [`first ${first >> 20} MiB in ${taken.transfer.tookMs} ms`];
      for (let generation = 2; generation <= 4; generation += 1) {
        await change(place);
        const held = await sums(place);
        const parent = taken.ref.id;
        ({ taken, next: place } = await move(place));
        expect(await sums(place)).to.deep.equal(held);
        const { storedBytes, tookMs } = taken.transfer;
        said.push(`then ${(storedBytes / 2 ** 20).toFixed(1)} in ${tookMs} ms`);
        expect(storedBytes).to.be.lessThan(first * 0.05);
        expect(manifestOf(taken).parent).to.equal(parent);
      }
      console.log(`      ${said.join(', ')}`);
      console.log(`      ${taken.transfer.timeline.map(({ step, ms }) => `${step} ${ms}`).join(', ')}`);
    });

    it('keeps apart what a process and its child, forked after the restore, hold', async () => {
      let { next: place } = await move(await start('32', 'all'));
      await change(place, 2); // the child says so, too
      place = { ...place, pids: await treeOf(place.pids[0] ?? 0) };
      expect(place.pids).to.have.length(2);
      for (let generation = 0; generation < 2; generation += 1) {
        const held = await sums(place);
        const { taken, next } = await move(place);
        expect(next.pids).to.deep.equal(place.pids);
        expect(await sums(next)).to.deep.equal(held);
        expect(taken.transfer.storedBytes).to.be.lessThan((generation === 0 ? 30 : 8) << 20);
        place = next;
      }
    });

    it('is right when the memory changes all the time', async () => {
      let place = await start('48', 'always');
      for (let generation = 0; generation < 4; generation += 1) {
        ({ next: place } = await move(place));
        for (let times = 0; times < 2; times += 1) {
          const [line = ''] = await sums(place);
          expect(line).to.match(/^root sum wrong 0 steps [1-9]\d+$/);
        }
      }
    });

    it('stores a page that was changed while others still arrived', async () => {
      const source = await start('48');
      const first = await take(source);
      await killTree(source.pids[0] ?? 0);
      const guard: LazyCare['guard'] = (rootPid, fillerPid) =>
        guardFaults({
          entrypointPid: process.pid,
          rootPid,
          fillerPid,
          cgroupProcs: [],
          binary: rig.placeholder,
          deadlineMs: 5_000,
        });
      const { tree, container } = await restore(first, { lazy: { guard } });
      // CRIU's daemon ends with its last page.
      rig.onClose(async () => {
        tree.fill();
        await tree.drained.catch(() => undefined);
      });
      expect(await tree.prepare()).to.equal(undefined);
      let isDrained = false;
      const drained = tree.drained.finally(() => (isDrained = true));
      continueAll(tree.pids);
      const running: Place = { container, pids: tree.pids, baseline: undefined, readBytes: 0 };
      await change(running);
      expect(isDrained).to.equal(false);
      tree.fill();
      const { baseline } = await drained;
      const held = await sums(running);
      const second = await take({ ...running, baseline });
      expect(second.transfer.storedBytes).to.be.lessThan(first.transfer.storedBytes * 0.1);
      await killTree(tree.rootPid);
      expect(await sums(await restoreInFull(second))).to.deep.equal(held);
    });

    it('begins again with the last complete one when it is killed in the middle of the next', async () => {
      const { taken, next: place } = await move(await start('64'));
      const held = await sums(place);
      await change(place);
      store.refusesPutsFrom = store.objects.size + 1;
      expect(await take(place).catch((error: unknown) => error)).to.have.property('code', 'STORE_WRITE_FAILED');
      process.kill(place.pids[0] ?? 0, 'SIGKILL');
      await killTree(place.pids[0] ?? 0);
      store.refusesPutsFrom = Number.POSITIVE_INFINITY;
      const again = await restoreInFull(taken);
      expect(await sums(again)).to.deep.equal(held);
      await change(again);
      const changed = await sums(again);
      const second = await move(again);
      expect(second.taken.transfer.storedBytes).to.be.lessThan(taken.transfer.storedBytes * 0.1);
      expect(await sums(second.next)).to.deep.equal(changed);
    });

    it('goes on where it was stopped: the next one stores only what changed since', async () => {
      const place = await start('64');
      const first = await take(place);
      continueAll(place.pids);
      await change(place);
      const held = await sums(place);
      const { taken, next } = await move({ ...place, baseline: first.baseline() });
      expect(taken.transfer.storedBytes).to.be.lessThan(first.transfer.storedBytes * 0.1);
      expect(manifestOf(taken).parent).to.equal(first.ref.id);
      expect(await sums(next)).to.deep.equal(held);
    });

    if (isTracked)
      it('is restored with as little after many as after the first', async () => {
        const read: number[] = [];
        const stored: number[] = [];
        let place = await start('64');
        let held: string[] = [];
        for (let generation = 0; generation < 14; generation += 1) {
          if (generation > 0) await change(place);
          held = await sums(place);
          const { taken, next } = await move(place);
          place = next;
          stored.push(taken.transfer.storedBytes);
          read.push(place.readBytes);
        }
        expect(await sums(place)).to.deep.equal(held);
        const mib = (all: readonly number[]): string => all.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ');
        console.log(`      MiB stored ${mib(stored)}, read ${mib(read)}`);
        expect(Math.max(...read)).to.be.lessThan((read[0] ?? 0) * 1.5);
      });

    it('is right when nothing is copied ahead of the freeze', async () => {
      const { next: place } = await move(await start('64'));
      await change(place);
      const held = await sums(place);
      const taken = await take(place, 0);
      expect(taken.transfer.storedBytes).to.be.lessThan(8 << 20);
      await killTree(place.pids[0] ?? 0);
      expect(await sums(await restoreInFull(taken))).to.deep.equal(held);
    });
  });
