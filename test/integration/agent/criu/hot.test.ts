import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { expect } from 'chai';
import { restoreCheckpoint, type RestoredTree, type RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { preCopy } from '../../../../agent/memory/pre-copy.ts';
import { MemorySession } from '../../../../agent/memory/session.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';
import type { LogFile } from '../../../../agent/store/logs.ts';
import type { CheckpointRef } from '../../../../agent/store/manifest.ts';
import { readManifest } from '../../../../agent/store/read-manifest.ts';
import { GatedStore } from '../../../fakes/gated-store.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { Programs, whyNot as whyNotTracked } from '../profiler/target.ts';
import { continueAll, killTree, Rig, until, whyNot, type Container } from './rig.ts';

const keyPrefix = 'test/default/deployment-app/one/';
const sealing = sealingFor('one');
const rounds = 6;
const { signal } = new AbortController();
const python = '/usr/bin/python3';
const mib = 64;

/** Writes to every 50th page, again and again. */
const twoPercent = `
import mmap, os, time
memory = mmap.mmap(-1, ${mib} << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(${mib}):
    memory.write(os.urandom(1 << 20))
print('up', flush=True)
while True:
    for page in range(0, len(memory), 50 * 4096):
        memory[page:page + 4096] = os.urandom(4096)
    time.sleep(0.01)
`;

describe('pages that are written to all the time', function () {
  this.timeout(120_000);
  let programs: Programs | undefined;
  let rig: Rig;
  let store: GatedStore;
  let session: MemorySession;

  before(function () {
    const reason = whyNot() ?? whyNotTracked();
    if (reason === undefined) {
      programs = new Programs();
      return;
    }
    console.log(`      skipped: ${reason}`);
    this.skip();
  });
  after(() => programs?.remove());
  beforeEach(async () => {
    rig = await Rig.make();
    store = new GatedStore();
  });
  afterEach(() => rig.close());

  async function startSession(pid: number, isTracked: boolean): Promise<void> {
    const tracking = new WriteTracking({ binary: programs?.placeholder ?? '', onFallback: console.log });
    const mine = new MemorySession(pid, isTracked ? tracking : undefined);
    rig.onClose(() => mine.close());
    await mine.ready();
    session = mine;
  }

  /** Rounds one by one, so that none is the last because the rest fits. @returns bytes stored in each */
  async function goThrough(excludesHot: boolean): Promise<number[]> {
    const stored = session.startUpload({ store, keyPrefix, sealing, signal, fail: console.log });
    const bytes: number[] = [];
    for (let i = 0; i < rounds; i += 1) {
      const before = stored.upload.storedBytes;
      await preCopy(session, stored, { budgetMs: 100, maxRounds: 1, excludesHot }, signal);
      bytes.push(stored.upload.storedBytes - before);
    }
    return bytes;
  }

  const take = (source: Container, pid: number, onLogs: (logs: readonly LogFile[]) => void = () => undefined) =>
    takeCheckpoint({
      ...rig.taking(source, pid),
      store,
      keyPrefix,
      sealing,
      memory: session,
      rounds: { budgetMs: 100, maxRounds: 1, excludesHot: true },
      onLogs,
    });

  async function restore(ref: CheckpointRef, more: Partial<RestoreOptions>): Promise<RestoredTree> {
    const target = await rig.container(randomUUID());
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref,
      sealing,
      lazy: { guard: async () => ({ held: 0, release: async () => undefined }) },
      ...more,
    });
    rig.onClose(() => killTree(tree.rootPid));
    await tree.prepare();
    return tree;
  }

  function sumOf(pid: number, page: number, pages: number): string {
    const area = Buffer.alloc(pages * pageBytes);
    const memory = openSync(`/proc/${pid}/mem`, 'r');
    for (let at = 0; at < area.byteLength;) {
      const bytes = readSync(memory, area, at, Math.min(1 << 20, area.byteLength - at), page * pageBytes + at);
      if (bytes === 0) throw new Error('its memory cannot be read');
      at += bytes;
    }
    closeSync(memory);
    return createHash('sha256').update(area).digest('hex');
  }

  for (const isTracked of [true, false]) {
    for (const areaPages of [600, 3000, 12_000]) {
      it(`are restored byte by byte although they were left to the freeze: ${areaPages} pages, ${isTracked ? 'tracked' : 'read'}`, async () => {
        const source = await rig.container('source');
        const pid = await rig.start(source, [programs?.target ?? '', 'writing', String(areaPages), '7']);
        const page = await until('its start', async () => {
          const line = (await source.lines()).find((each) => each.startsWith('up'));
          return line === undefined ? undefined : Number(line.split(' ')[1]);
        });
        await startSession(pid, isTracked);
        await goThrough(true);
        expect(session.hot.excludedPages).to.be.greaterThan(0);
        const logs: LogFile[] = [];
        const taken = await take(source, pid, (found) => logs.push(...found));
        expect(logs.map(({ name }) => name)).to.deep.equal(['dump.log']);
        const held = sumOf(pid, page, areaPages);
        await killTree(pid);
        const { hot = [] } = await readManifest(store, taken.ref, sealing, signal);
        expect(hot.map(({ id }) => id)).to.deep.equal([pid]);
        expect(hot[0]?.ranges.some(([first, pages]) => first + pages > page && first < page + areaPages)).to.equal(
          true,
        );

        const restoreLogs: LogFile[] = [];
        const tree = await restore(taken.ref, { onLogs: (found) => restoreLogs.push(...found) });
        tree.fill();
        const { counts } = await tree.drained;
        expect(counts.hotPages).to.be.greaterThan(0);
        expect(restoreLogs.map(({ name }) => name)).to.include('restore.log');
        expect(sumOf(tree.rootPid, page, areaPages)).to.equal(held);
      });
    }
  }

  it('are stored less often when they are excluded', async () => {
    const sums: number[] = [];
    for (const excludesHot of [false, true]) {
      const source = await rig.container(`source-${excludesHot}`);
      const pid = await rig.start(source, [python, '-c', twoPercent]);
      await until('its start', async () => ((await source.lines()).includes('up') ? true : undefined));
      await startSession(pid, true);
      const bytes = await goThrough(excludesHot);
      const { freezeMs, storedBytes } = (await take(source, pid)).transfer;
      await killTree(pid);
      sums.push(bytes.slice(1).reduce((sum, each) => sum + each, 0));
      const inRounds = bytes.map((each) => (each / 2 ** 20).toFixed(2)).join(' ');
      const inFreeze = (storedBytes / 2 ** 20).toFixed(2);
      console.log(
        `      ${excludesHot ? 'excluded' : 'all'}: rounds of ${inRounds} MiB; ${inFreeze} MiB and ${freezeMs} ms in the end`,
      );
    }
    expect(sums[1]).to.be.lessThan((sums[0] ?? 0) * 0.8);
  });

  it('are there first when they were named', async () => {
    const source = await rig.container('source');
    const pid = await rig.start(source, [python, '-c', twoPercent]);
    await until('its start', async () => ((await source.lines()).includes('up') ? true : undefined));
    await startSession(pid, true);
    await goThrough(false);
    const { ref } = await take(source, pid);
    await killTree(pid);
    store.delayMs = 20;
    for (const hotSeed of [false, true]) {
      const tree = await restore(ref, { hotSeed });
      continueAll(tree.pids);
      tree.fill();
      const { counts, faults, drainMs } = await tree.drained;
      await killTree(tree.rootPid);
      expect(counts.hotPages > 0).to.equal(hotSeed);
      const { store: late, ahead } = faults.bySource;
      const stalls = `p50 ${faults.all.p50Us} p99 ${faults.all.p99Us} max ${faults.all.maxUs} us`;
      console.log(
        `      ${hotSeed ? `${counts.hotPages} hot pages first` : 'in order'}: ${late.count} faults waited for the store, ${ahead.count} did not; ${stalls}; drained in ${drainMs} ms`,
      );
    }
  });
});
