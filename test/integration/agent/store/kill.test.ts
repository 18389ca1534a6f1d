import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { manifestKeys } from '../../../../agent/inspect/open.ts';
import { verifyCheckpoint } from '../../../../agent/inspect/verify.ts';
import { collectGarbage, readCheckpoints, storeTime } from '../../../../agent/store/collect-garbage.ts';
import { createFileStore } from '../../../../agent/store/file.ts';
import { maxManifestBytes, sha256Hex } from '../../../../agent/store/manifest.ts';
import type { RetentionPolicy } from '../../../../agent/store/retention.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { continueAll, killTree, Rig, statusField, treeOf, until, whyNot, type Container } from '../criu/rig.ts';
import { argumentsHere, type KillChildOptions } from './kill-options.ts';

const seeds = Number(process.env['PODFERRY_KILLS'] ?? 20);
const memoryMiB = 40;
const checkpointsOfAChild = 3;
/** As many words as a child says in about two rounds. */
const wordsToChooseFrom = 44;
const hour = 3_600_000;
const policy: RetentionPolicy = { ttlMs: 1_000 * hour, count: 2, depth: 100, graceMs: hour };
const program = fileURLToPath(new URL('../criu/app.py', import.meta.url));
const child = fileURLToPath(new URL('kill-child.ts', import.meta.url));
const keyPrefix = 'test/default/deployment-app/one/';
const sealing = sealingFor('one');
const { signal } = new AbortController();

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Role -> digest of its memory, of lines such as "root sum 3fa9... 12 12 11 12". */
const digests = (lines: readonly string[], word: string): Record<string, string | undefined> =>
  Object.fromEntries(
    lines
      .map((line) => line.split(' '))
      .filter((fields) => fields[1] === word)
      .map(([role, , digest]) => [role, digest]),
  );

async function newSums(container: Container, pids: readonly number[]): Promise<Record<string, string | undefined>> {
  const before = (await container.lines()).length;
  for (const pid of pids) process.kill(pid, 'SIGUSR1');
  return until('two sums', async () => {
    const found = digests((await container.lines()).slice(before), 'sum');
    return Object.keys(found).length === 2 ? found : undefined;
  });
}

/** When a child is killed: some time after it has said the n-th word of all, or of those that are like `word`. */
interface Point {
  readonly word: string | undefined;
  readonly nth: number;
  readonly afterMs: number;
}

function pointOf(seed: number): Point {
  const random = randomOf(seed);
  const upTo = (most: number): number => Math.floor(random() * most);
  // The time in which CRIU has the processes is short, and what matters most.
  if (upTo(5) < 2) return { word: 'criu', nth: 1 + upTo(2), afterMs: upTo(120) };
  return { word: undefined, nth: 1 + upTo(wordsToChooseFrom), afterMs: upTo(25) };
}

/** Runs a child and kills it. @returns its last word, and how many there were */
async function runAndKill(options: KillChildOptions, { word, nth, afterMs }: Point): Promise<[string, number]> {
  const agent = spawn(process.execPath, ['--import', 'tsx', child, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(agent, 'exit');
  let complaints = '';
  agent.stderr.on('data', (text: Buffer) => (complaints += text.toString()));
  const said: string[] = [];
  for await (const line of createInterface({ input: agent.stdout })) {
    said.push(line);
    if (said.filter((each) => word === undefined || each === word).length === nth && (line === word || !word)) {
      await delay(afterMs);
      agent.kill('SIGKILL');
    }
  }
  await ended;
  if (agent.signalCode === null && agent.exitCode !== 0) throw new Error(`the child failed: ${complaints}`);
  return [said.at(-1) ?? 'start', said.length];
}

/** Processes whose arguments name the folder. */
async function criuProcesses(dir: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const words = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''); // it has ended
    if (words.includes(dir) && words.includes('criu')) found.push(pid);
  }
  return found;
}

describe('an agent that is killed', function () {
  this.timeout(600_000);
  let rig: Rig;
  before(async function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    rig = await Rig.make();
  });
  after(async () => rig?.close());

  it(`at any of ${seeds} points leaves complete checkpoints, a process that goes on, and nothing that is not removed`, async () => {
    const container = await rig.container('source');
    const rootPid = await rig.start(container, ['/usr/bin/python3', program, `${memoryMiB}`]);
    const first = await until('the application', async () => {
      const up = digests(await container.lines(), 'up');
      return Object.keys(up).length === 2 ? up : undefined;
    });
    const pids = await treeOf(rootPid);
    const root = join(rig.dir, 'store');
    await mkdir(root);
    const store = createFileStore(root);
    const packs = async (): Promise<Set<string>> => {
      const found = new Set<string>();
      for await (const { key } of store.list(`${keyPrefix}packs/`, signal)) found.add(key);
      return found;
    };
    /** Every checkpoint that exists can be restored. */
    const verifyAll = async (when: string): Promise<number> => {
      const keys = await manifestKeys(store, keyPrefix, signal);
      for (const key of keys) {
        expect(await verifyCheckpoint(store, key, () => sealing.key, signal), `${when}: ${key}`).to.deep.equal([]);
      }
      return keys.length;
    };

    console.log('      seed  killed at (word, + ms)        checkpoints  packs  orphans  after collection');
    for (let seed = 1; seed <= seeds; seed += 1) {
      const at = pointOf(seed);
      const [word, count] = await runAndKill(
        {
          criu: rig.criu.command([argumentsHere]),
          root,
          keyPrefix,
          instance: sealing.instance,
          keyId: sealing.id,
          dataKey: sealing.key.toString('hex'),
          pids,
          stdioPid: container.pid,
          workDir: join(rig.dir, 'take'),
          policy,
          olderMs: 2 * hour,
          ids: Array.from({ length: checkpointsOfAChild }, () => randomUUID()),
        },
        at,
      );

      // What an agent does that is started again.
      await until('the end of CRIU', async () => {
        return (await criuProcesses(rig.dir)).length === 0 ? true : undefined;
      });
      for (const pid of pids) expect(await statusField(pid, 'TracerPid'), `seed ${seed}`).to.equal('0');
      continueAll(pids);
      expect(await newSums(container, pids), `seed ${seed}: the process`).to.deep.equal(first);

      const checkpoints = await verifyAll(`seed ${seed}`);
      const before = await packs();
      const named = new Set((await readCheckpoints({ store, keyPrefix, sealing, signal })).flatMap((c) => c.packs));
      const orphans = [...before].filter((key) => !named.has(key)).length;
      const nowMs = (await storeTime(store, keyPrefix, signal)) + 2 * hour;
      await collectGarbage({ store, keyPrefix, sealing, policy, nowMs, signal });
      const left = await verifyAll(`seed ${seed}, collected`);
      expect(left).to.equal(Math.min(checkpoints, policy.count));
      const live = (await readCheckpoints({ store, keyPrefix, sealing, signal })).flatMap((c) => c.packs);
      expect(await packs(), `seed ${seed}: packs`).to.deep.equal(new Set(live));
      const point = `${word} (${count}, + ${at.afterMs})`;
      console.log(
        `      ${`${seed}`.padStart(4)}  ${point.padEnd(29)} ${`${checkpoints}`.padStart(11)} ${`${before.size}`.padStart(6)} ${`${orphans}`.padStart(8)}  ${left} checkpoints, ${new Set(live).size} packs`,
      );
    }

    const newest = (await readCheckpoints({ store, keyPrefix, sealing, signal })).toSorted(
      (a, b) => b.storedMs - a.storedMs,
    )[0];
    if (newest === undefined) throw new Error('no seed has left a checkpoint');
    await killTree(rootPid);
    const target = await rig.container('target');
    const manifest = await store.get(newest.manifestKey, maxManifestBytes, signal);
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      store,
      ref: { id: newest.id, manifestKey: newest.manifestKey, manifestSha256: sha256Hex(manifest) },
      sealing,
    });
    rig.onClose(() => killTree(tree.rootPid));
    const restored = await treeOf(tree.rootPid);
    continueAll(restored);
    expect(await newSums(target, restored), 'the newest checkpoint, restored').to.deep.equal(first);
  });
});
