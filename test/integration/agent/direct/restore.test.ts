import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { takeCheckpoint, type TakenCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { packsOfLast } from '../../../../agent/direct/last-checkpoint.ts';
import { createLinks } from '../../../../agent/direct/tls-links.ts';
import type { Baseline } from '../../../../agent/memory/baseline.ts';
import { MemorySession } from '../../../../agent/memory/session.ts';
import type { Store } from '../../../../agent/store/store.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { continueAll, killTree, Rig, treeOf, until, whyNot, type Container } from '../criu/rig.ts';

const script = fileURLToPath(new URL('../criu/app.py', import.meta.url));
const sealing = sealingFor('one');

/** What each of the two processes holds, after it said `word`. */
async function digests(container: Container, word: string): Promise<string[]> {
  return until(`two lines with ${word}`, async () => {
    const lines = (await container.lines()).map((line) => line.split(' ')).filter((fields) => fields[1] === word);
    const held = new Map(lines.map(([role = '', , digest = '']) => [role, digest]));
    return held.size === 2 ? [...held].map(([role, digest]) => `${role} ${digest}`).toSorted() : undefined;
  });
}

/** Knows what was read of it, to its end. */
class CountedStore extends MemoryStore {
  readonly readKeys = new Set<string>();

  override async read(key: string, target: Uint8Array, bytes: number, signal: AbortSignal): Promise<void> {
    await super.read(key, target, bytes, signal);
    this.readKeys.add(key);
  }
}

describe('agent/direct: a move whose pages never touch the store of the target', function () {
  this.timeout(120_000);

  it('restores from what the source sent alone', async function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    const rig = await Rig.make();
    const source = createLinks({ log: silentLog(), patienceMs: 20_000, graceMs: 20_000 });
    const target = createLinks({ log: silentLog(), maxBytes: 1024 ** 3 });
    try {
      const secret = randomBytes(32);
      await source.connect('127.0.0.1', await target.listen(secret), secret);
      const container = await rig.container('source');
      const rootPid = await rig.start(container, ['/usr/bin/python3', script, '32']);
      const held = await digests(container, 'up');
      const durable = new MemoryStore();
      const { ref } = await takeCheckpoint({
        ...rig.taking(container, rootPid),
        store: source.over(durable),
        keyPrefix: 'test/default/deployment-app/one/',
        id: 'direct',
        sealing,
      });
      while (target.bytes !== source.bytes) await setImmediate();
      expect(source.bytes).to.be.greaterThan(8 << 20);
      await killTree(rootPid);

      const other = await rig.container('target');
      const tree = await restoreCheckpoint({
        ...rig.restoring(other),
        store: target.over(new MemoryStore()),
        ref,
        sealing,
      });
      rig.onClose(async () => killTree(tree.rootPid));
      const pids = await treeOf(tree.rootPid);
      continueAll(pids);
      for (const pid of pids) process.kill(pid, 'SIGUSR1');
      expect(await digests(other, 'sum')).to.deep.equal(held);
      console.log(`      ${target.bytes >> 20} MiB came directly, restored in ${tree.tookMs} ms`);
    } finally {
      source.close();
      target.close();
      await rig.close();
    }
  });

  it('needs only what changed since the last checkpoint when that was taken into memory ahead', async function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    const rig = await Rig.make();
    const source = createLinks({ log: silentLog(), patienceMs: 20_000, graceMs: 20_000 });
    const target = createLinks({ log: silentLog(), maxBytes: 1024 ** 3 });
    const keyPrefix = 'test/default/deployment-app/one/';
    const container = await rig.container('source');
    const rootPid = await rig.start(container, ['/usr/bin/python3', script, '32']);
    const held = await digests(container, 'up');
    const durable = new CountedStore();
    const take = async (store: Store, baseline?: Baseline): Promise<TakenCheckpoint> => {
      const memory = new MemorySession(rootPid, undefined, baseline);
      try {
        return await takeCheckpoint({
          ...rig.taking(container, rootPid),
          store,
          keyPrefix,
          sealing,
          memory,
        });
      } finally {
        await memory.close();
      }
    };
    try {
      const first = await take(durable);
      continueAll(await treeOf(rootPid));
      const { signal } = new AbortController();
      const secret = randomBytes(32);
      await source.connect('127.0.0.1', await target.listen(secret), secret);
      target.over(durable);
      const named = await packsOfLast(durable, keyPrefix, sealing, signal);
      let isAsked = false;
      await target.warm(`${keyPrefix}packs/`, async () => {
        isAsked = true;
        return named;
      });
      const second = await take(source.over(durable), first.baseline());
      expect(second.transfer.storedBytes).to.be.lessThan(first.transfer.storedBytes / 4);
      while (target.bytes !== source.bytes) await setImmediate();
      expect(isAsked).to.equal(true);
      expect(source.bytes).to.be.lessThan(first.transfer.storedBytes / 4);
      await until('the memory of the last checkpoint', async () =>
        durable.readKeys.size >= named.length ? true : undefined,
      );
      await killTree(rootPid);
      durable.objects.clear();

      const other = await rig.container('target');
      const tree = await restoreCheckpoint({
        ...rig.restoring(other),
        store: target.over(durable),
        ref: second.ref,
        sealing,
      });
      rig.onClose(async () => killTree(tree.rootPid));
      const pids = await treeOf(tree.rootPid);
      continueAll(pids);
      for (const pid of pids) process.kill(pid, 'SIGUSR1');
      expect(await digests(other, 'sum')).to.deep.equal(held);
      console.log(`      ${(source.bytes / 2 ** 20).toFixed(1)} MiB came directly, restored in ${tree.tookMs} ms`);
    } finally {
      source.close();
      target.close();
      await rig.close();
    }
  });
});
