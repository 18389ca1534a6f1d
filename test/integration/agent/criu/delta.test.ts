import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { takeCheckpoint, type TakenCheckpoint, type TakeOptions } from '../../../../agent/checkpoint/take.ts';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { preCopy, type PreCopied } from '../../../../agent/memory/pre-copy.ts';
import { MemorySession } from '../../../../agent/memory/session.ts';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';
import { parseManifest } from '../../../../agent/store/manifest.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { bytesIn, continueAll, killTree, Rig, treeOf, until, whyNot, type Container } from './rig.ts';

const script = fileURLToPath(new URL('memory.py', import.meta.url));
const keyPrefix = 'test/default/deployment-app/one/';
const sealing = sealingFor('one');
const none = { budgetMs: 0, maxRounds: 0 };

for (const isTracked of [false, true])
  describe(`copying memory ahead of a checkpoint, ${isTracked ? 'writes tracked' : 'everything read each time'}`, function () {
    this.timeout(120_000);
    let fallbacks: string[];
    let rig: Rig;
    let store: MemoryStore;
    let container: Container;
    let session: MemorySession;
    let pid: number;

    before(function () {
      const reason = whyNot();
      if (reason !== undefined) {
        console.log(`      skipped: ${reason}`);
        this.skip();
      }
    });
    beforeEach(async () => {
      fallbacks = [];
      rig = await Rig.make();
      store = new MemoryStore();
    });
    afterEach(async () => {
      await rig.close();
      expect(fallbacks).to.deep.equal([]);
    });

    async function start(...argv: string[]): Promise<void> {
      container = await rig.container(`source-${randomUUID()}`);
      pid = await rig.start(container, ['/usr/bin/python3', script, ...argv]);
      await lines(container, 'up', 1);
      const onFallback = (why: string): void => void fallbacks.push(why);
      session = new MemorySession(
        pid,
        isTracked ? new WriteTracking({ binary: rig.placeholder, onFallback }) : undefined,
      );
      rig.onClose(() => session.close());
      await session.ready();
    }

    const lines = (from: Container, word: string, count: number): Promise<string[]> =>
      until(`${count} lines "${word}"`, async () => {
        const found = (await from.lines()).filter((line) => line.split(' ')[1] === word);
        return found.length >= count ? found : undefined;
      });

    async function change(times: number): Promise<void> {
      process.kill(pid, 'SIGUSR2');
      await lines(container, 'changed', times);
    }

    async function sums(from: Container, pids: readonly number[], before = 0): Promise<string[]> {
      for (const each of pids) process.kill(each, 'SIGUSR1');
      return (await lines(from, 'sum', before + pids.length)).slice(before).toSorted();
    }

    async function copy(maxRounds = 1): Promise<PreCopied & { storedBytes: number }> {
      const { signal } = new AbortController();
      const fail = (error: unknown): void => console.log('      failed:', error);
      const stored = session.startUpload({ store, keyPrefix, sealing, signal, fail });
      const copied = await preCopy(session, stored, { budgetMs: 0, maxRounds }, signal);
      return { ...copied, storedBytes: stored.upload.storedBytes };
    }

    function take(more: Partial<TakeOptions> = {}): Promise<TakenCheckpoint> {
      return takeCheckpoint({
        ...rig.taking(container, pid),
        store,
        keyPrefix,
        sealing,
        memory: session,
        rounds: none,
        ...more,
      });
    }

    async function restore(taken: TakenCheckpoint): Promise<{ target: Container; pids: readonly number[] }> {
      await killTree(pid);
      const target = await rig.container(`target-${randomUUID()}`);
      const tree = await restoreCheckpoint({
        ...rig.restoring(target),
        store,
        ref: taken.ref,
        sealing,
      });
      rig.onClose(() => killTree(tree.rootPid));
      continueAll(tree.pids);
      return { target, pids: tree.pids };
    }

    it('stores 2 % of the memory again when 2 % has changed, and restores it as it was', async () => {
      await start('256');
      const first = await copy();
      expect(first.storedBytes).to.be.greaterThan(256 << 20);
      await change(1);
      const held = await sums(container, [pid]);
      const taken = await take();
      const { pageBytes, storedBytes, freezeMs } = taken.transfer;
      expect(pageBytes).to.be.greaterThan(256 << 20);
      expect(storedBytes).to.be.lessThan(pageBytes * 0.03);
      console.log(
        `      ${pageBytes >> 20} MiB of pages: first ${first.storedBytes >> 20} MiB stored, then ${storedBytes >> 20}, frozen ${freezeMs} ms`,
      );
      const { target, pids } = await restore(taken);
      expect(await sums(target, pids)).to.deep.equal(held);
    });

    it('restores memory that was zeroed, unmapped, mapped anew and forked between two looks', async () => {
      await start('32', 'all');
      await copy();
      await change(2); // the child says so, too
      const before = await treeOf(pid);
      expect(before).to.have.length(2);
      const held = await sums(container, before);
      await copy();
      const { target, pids } = await restore(await take());
      expect(pids).to.deep.equal(before);
      expect(await sums(target, pids)).to.deep.equal(held);
    });

    it('restores memory that changes all the time as it was when it was stopped', async () => {
      await start('64', 'always');
      await copy(3);
      const taken = await take({ rounds: { budgetMs: 0, maxRounds: 2 } });
      const [seen = ''] = (await container.lines()).filter((line) => line.includes('sum'));
      expect(seen).to.equal('');
      const { target, pids } = await restore(taken);
      for (const times of [0, 1]) {
        const [line = ''] = await sums(target, pids, times);
        expect(line).to.match(/^root sum wrong 0 steps [1-9]\d+$/);
      }
    });

    it('goes on after a checkpoint whose tree is continued: the next one stores only what changed', async () => {
      await start('64');
      await take();
      continueAll([pid]);
      await change(1);
      const held = await sums(container, [pid]);
      const second = await take();
      expect(second.transfer.storedBytes).to.be.lessThan(8 << 20);
      const { target, pids } = await restore(second);
      expect(await sums(target, pids)).to.deep.equal(held);
    });

    it('has locked memory, which nothing may come to later, in place before the process runs', async () => {
      await start('32', 'locked');
      await copy();
      await change(1);
      const held = await sums(container, [pid]);
      const taken = await take();
      const { target, pids } = await restore(taken);
      expect(await sums(target, pids)).to.deep.equal(held);
    });

    it('has CRIU send everything when there is much shared memory, so that none of it becomes a file', async () => {
      await start('32', 'shared');
      const held = await sums(container, [pid]);
      const workDir = join(rig.dir, 'take');
      let most = 0;
      const taken = await take({
        rounds: { budgetMs: 0, maxRounds: 3 },
        store: {
          put: async (key, body, options) => {
            most = Math.max(most, await bytesIn(workDir));
            await store.put(key, body, options);
          },
          putOnce: (key, body, options) => store.putOnce(key, body, options),
          read: (...args) => store.read(...args),
          readRange: (...args) => store.readRange(...args),
          get: (...args) => store.get(...args),
          list: (...args) => store.list(...args),
          delete: (...args) => store.delete(...args),
        },
      });
      expect(taken.transfer.rounds).to.equal(0);
      expect(most).to.be.lessThan(2 << 20);
      const { target, pids } = await restore(taken);
      expect(await sums(target, pids)).to.deep.equal(held);
    });

    it('leaves out packs that nothing refers to, and empties those of which little is left', async () => {
      await start('8', 'all');
      await copy();
      await change(2);
      await copy(3);
      const taken = await take();
      const manifest = parseManifest(store.objects.get(taken.ref.manifestKey) ?? Buffer.alloc(0), sealing);
      const named = new Set(manifest.packs.map(({ key }) => key));
      for (const key of named) expect(store.objects.has(key)).to.equal(true);
      const all = [...store.objects.keys()].filter((key) => key.includes('/packs/'));
      expect(all.length).to.be.greaterThan(named.size);
    });

    it('lets the application run on when the store fails in the middle of copying ahead', async () => {
      await start('64');
      store.refusesPutsFrom = 2;
      const taken: unknown = await take({ rounds: { budgetMs: 0, maxRounds: 2 } }).catch((error: unknown) => error);
      expect(taken).to.have.property('code', 'STORE_WRITE_FAILED');
      expect(await sums(container, [pid])).to.have.length(1);
    });
  });
