import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { expect } from 'chai';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { preCopy } from '../../../../agent/memory/pre-copy.ts';
import { MemorySession } from '../../../../agent/memory/session.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { Programs, whyNot as whyNotTracked } from '../profiler/target.ts';
import { killTree, Rig, until, whyNot } from './rig.ts';

const areaPages = 12_000;
const seeds = 10;
const keyPrefix = 'test/default/deployment-app/one/';
const sealing = sealingFor('one');

describe('a process that three threads write to all the time, its writes tracked', function () {
  this.timeout(120_000);
  let programs: Programs | undefined;
  let rig: Rig;

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
  });
  afterEach(() => rig.close());

  function sumOf(pid: number, page: number): string {
    const area = Buffer.alloc(areaPages * pageBytes);
    const memory = openSync(`/proc/${pid}/mem`, 'r');
    for (let at = 0; at < area.byteLength;) {
      const bytes = readSync(memory, area, at, Math.min(1 << 20, area.byteLength - at), page * pageBytes + at);
      if (bytes === 0) throw new Error('its memory cannot be read');
      at += bytes;
    }
    closeSync(memory);
    return createHash('sha256').update(area).digest('hex');
  }

  for (let seed = 0; seed < seeds; seed += 1) {
    it(`is restored byte by byte as it was stopped (${seed + 1} of ${seeds})`, async () => {
      const store = new MemoryStore();
      const source = await rig.container(`source-${randomUUID()}`);
      const pid = await rig.start(source, [programs?.target ?? '', 'writing', String(areaPages), String(seed * 1000)]);
      const page = await until('its start', async () => {
        const line = (await source.lines()).find((each) => each.startsWith('up'));
        return line === undefined ? undefined : Number(line.split(' ')[1]);
      });
      const fallbacks: string[] = [];
      const tracking = new WriteTracking({
        binary: programs?.placeholder ?? '',
        onFallback: (why) => fallbacks.push(why),
      });
      const session = new MemorySession(pid, tracking);
      rig.onClose(() => session.close());
      await session.ready();
      const { signal } = new AbortController();
      const stored = session.startUpload({ store, keyPrefix, sealing, signal, fail: console.log });
      await preCopy(session, stored, { budgetMs: 0, maxRounds: 2 }, signal);
      const taken = await takeCheckpoint({
        ...rig.taking(source, pid),
        store,
        keyPrefix,
        sealing,
        memory: session,
        rounds: { budgetMs: 0, maxRounds: 1 },
      });
      const held = sumOf(pid, page);
      await killTree(pid);
      const target = await rig.container(`target-${randomUUID()}`);
      const tree = await restoreCheckpoint({
        ...rig.restoring(target),
        store,
        ref: taken.ref,
        sealing,
      });
      rig.onClose(() => killTree(tree.rootPid));
      expect(sumOf(tree.rootPid, page)).to.equal(held);
      expect(fallbacks).to.deep.equal([]);
    });
  }
});
