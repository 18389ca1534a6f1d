import { spawn, type StdioOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { restoreCheckpoint, type RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import type { RunRestore } from '../../../../agent/checkpoint/restore-tree.ts';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { pageFlags } from '../../../../agent/criu/page-xfer.ts';
import { guardFaults } from '../../../../agent/launch/fault-guard.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { frameBytes } from '../../../../agent/store/frames.ts';
import {
  parseManifest,
  sha256Hex,
  type CheckpointRef,
  type Extent,
  type Manifest,
} from '../../../../agent/store/manifest.ts';
import type { Sealing } from '../../../../agent/store/sealing.ts';
import { PodferryError, type ErrorCode } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { continueAll, killTree, Rig, statusField, until, whyNot, type Container } from './rig.ts';

const one = sealingFor('one');
const two = sealingFor('two');
const python = '/usr/bin/python3';

/** Says the digest of its 4 MiB, at first and on SIGUSR1. */
const script = `
import hashlib, mmap, os, signal, sys, time
memory = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(os.urandom(4 << 20))
def say(*_):
    sys.stdout.write(hashlib.sha256(memory).hexdigest() + '\\n')
    sys.stdout.flush()
signal.signal(signal.SIGUSR1, say)
say()
while True:
    time.sleep(0.02)
`;

/** Runs CRIU, says how it ended, and reaps what it leaves: whoever adopts dead trees here otherwise takes seconds, and their pids are needed again. */
const reaper = `
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
out = os.dup(1)
os.dup2(0, 1)
_, status = os.waitpid(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
os.write(out, str(status).encode())
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
`;

/** The objects of a checkpoint: the packs of pages, of CRIU's images and of files are never the same here. */
const kinds = ['manifest', 'pages', 'images', 'files'] as const;
type Kind = (typeof kinds)[number];

interface Point {
  readonly ref: CheckpointRef;
  readonly pid: number;
  readonly keys: Readonly<Record<Kind, string>>;
  /** Within the pack of pages: a sealed byte of one that the application reads. */
  readonly pageAt: number;
  readonly sum: string;
}

/** The middle of the application's memory, which is the longest run of lazy pages. */
function middleOfMemory({ packs, pages }: Manifest): { readonly key: string; readonly at: number } {
  const isLazy = (flags: number): boolean => (flags & pageFlags.lazy) !== 0;
  const runs = pages.flatMap((image) => [...image.runs]).filter((run) => run.pack >= 0 && isLazy(run.flags));
  const [longest] = runs.toSorted((a, b) => b.pages - a.pages);
  const pack = packs[longest?.pack ?? -1];
  if (longest === undefined || pack === undefined) throw new Error('the checkpoint has no lazy pages');
  const frame = Math.floor(((longest.at + (longest.pages >> 1)) * pageBytes) / frameBytes);
  const before = pack.frames.slice(0, frame).reduce((sum, next) => sum + next, 0);
  return { key: pack.key, at: before + ((pack.frames[frame] ?? 0) >> 1) };
}

describe('a damaged checkpoint', function () {
  this.timeout(60_000);
  const store = new MemoryStore();
  let intact: ReadonlyMap<string, Buffer>;
  let point: Point;
  /** Of the same instance, and of another one: what could take the place of an object. */
  let earlier: Point;
  let foreign: Point;
  let rig: Rig;
  let target: Container;

  before(async function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
    rig = await Rig.make();
    try {
      earlier = await take('earlier', one);
      foreign = await take('foreign', two);
      point = await take('point', one);
    } finally {
      await rig.close();
    }
    intact = new Map(store.objects);
  });
  beforeEach(async () => {
    store.objects.clear();
    for (const [key, bytes] of intact) store.objects.set(key, Buffer.from(bytes));
    rig = await Rig.make();
    target = await rig.container('target');
    // Whoever has adopted a dead tree reaps it when it pleases.
    await until('a free pid', async () => (existsSync(`/proc/${point.pid}`) ? undefined : true));
  });
  afterEach(() => rig.close());

  async function take(id: string, sealing: Sealing): Promise<Point> {
    const source = await rig.container(id);
    const pid = await rig.start(source, [python, '-c', script]);
    const sum = await until('the application', async () => (await source.lines())[0]);
    const { ref } = await takeCheckpoint({
      ...rig.taking(source, pid),
      store,
      keyPrefix: `test/${sealing.instance}/`,
      id,
      sealing,
      files: async () => ({ archive: Readable.from([randomBytes(700_000)]), deleted: [] }),
      deadlineMs: 30_000,
    });
    await killTree(pid);
    const manifest = parseManifest(body(ref.manifestKey), sealing);
    const packOf = (at: readonly Extent[] = []): string => manifest.packs[at[0]?.pack ?? -1]?.key ?? '';
    const { key: pages, at: pageAt } = middleOfMemory(manifest);
    const images = packOf(manifest.images[0]?.at);
    const keys = { manifest: ref.manifestKey, pages, images, files: packOf(manifest.files?.archive) };
    expect(new Set(Object.values(keys)).size, 'objects').to.equal(kinds.length);
    return { ref, pid, keys, pageAt, sum };
  }

  const body = (key: string): Buffer => store.objects.get(key) ?? Buffer.alloc(0);
  const put = (key: string, bytes: Buffer): void => void store.objects.set(key, bytes);
  const flip = (key: string, at: number): void => {
    body(key).writeUInt8(body(key).readUInt8(at) ^ 0x10, at);
  };

  const runRestore: RunRestore = async ({ args, fds }) => {
    const criu = rig.criu.command(args);
    const stdio: StdioOptions = ['ignore', 'pipe', 'ignore', ...fds];
    const child = spawn(python, ['-c', reaper, criu.file, ...criu.args], { stdio, env: criu.env });
    const ended = once(child, 'exit');
    rig.onClose(async () => void (await ended));
    const [bytes] = (await once(child.stdout as Readable, 'data')) as [Buffer];
    const said = bytes.toString();
    if (said !== '0') throw new PodferryError('CRIU_RESTORE_FAILED', `criu restore ended with ${said}`);
  };

  const lazily = (): Partial<RestoreOptions> => ({
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

  /** Restores, and has the application read all of its memory while it fills; resolves to what it says. */
  async function run(more: Partial<RestoreOptions>): Promise<string> {
    const tree = await restoreCheckpoint({
      ...rig.restoring(target),
      runRestore,
      store,
      ref: point.ref,
      sealing: one,
      unpackFiles: async (archive) => {
        for await (const chunk of archive) expect(chunk).to.be.instanceOf(Buffer);
      },
      deadlineMs: 30_000,
      ...more,
    });
    rig.onClose(() => killTree(tree.rootPid));
    expect(await tree.prepare()).to.equal(undefined);
    process.kill(tree.rootPid, 'SIGUSR1');
    continueAll(tree.pids);
    tree.fill();
    await tree.drained;
    return until('its word', async () => (await target.lines())[0]);
  }

  async function expectRefused(work: Promise<unknown>, code: ErrorCode, key: string): Promise<void> {
    const error: unknown = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(PodferryError);
    expect((error as PodferryError).code).to.equal(code);
    expect((error as PodferryError).message).to.include(key);
    expect(await statusField(point.pid, 'State')).to.be.oneOf([undefined, 'Z (zombie)']);
    expect(await target.lines()).to.deep.equal([]);
    expect(existsSync(join(rig.dir, 'restore'))).to.equal(false);
  }

  /** What can happen to every kind of object. */
  const damages: { name: string; code: ErrorCode; damage: (key: string, kind: Kind) => void }[] = [
    { name: 'its first byte changed', code: 'OBJECT_CORRUPT', damage: (key) => flip(key, 0) },
    { name: 'a byte in its middle changed', code: 'OBJECT_CORRUPT', damage: (key) => flip(key, body(key).length >> 1) },
    { name: 'its last byte changed', code: 'OBJECT_CORRUPT', damage: (key) => flip(key, body(key).length - 1) },
    { name: 'its last byte missing', code: 'OBJECT_CORRUPT', damage: (key) => put(key, body(key).subarray(0, -1)) },
    { name: 'nothing in it', code: 'OBJECT_CORRUPT', damage: (key) => put(key, Buffer.alloc(0)) },
    {
      name: 'a byte too many',
      code: 'OBJECT_CORRUPT',
      damage: (key) => put(key, Buffer.concat([body(key), Buffer.of(0)])),
    },
    { name: 'gone', code: 'OBJECT_MISSING', damage: (key) => void store.objects.delete(key) },
    {
      name: 'in its place that of an earlier checkpoint',
      code: 'OBJECT_CORRUPT',
      damage: (key, kind) => put(key, body(earlier.keys[kind])),
    },
    {
      name: 'in its place that of another instance',
      code: 'OBJECT_CORRUPT',
      damage: (key, kind) => put(key, body(foreign.keys[kind])),
    },
    {
      name: 'in its place another object of the checkpoint',
      code: 'OBJECT_CORRUPT',
      damage: (key, kind) => put(key, body(point.keys[kind === 'pages' ? 'images' : 'pages'])),
    },
  ];

  /** References and keys that do not belong together. */
  const mistakes: { name: string; code: ErrorCode; make: () => { more: Partial<RestoreOptions>; key: string } }[] = [
    {
      name: "another instance's manifest",
      code: 'MANIFEST_INVALID',
      make: () => ({ more: { ref: foreign.ref }, key: foreign.keys.manifest }),
    },
    {
      name: "another instance's manifest under its key, and the digest of that",
      code: 'MANIFEST_INVALID',
      make: () => {
        put(point.keys.manifest, body(foreign.keys.manifest));
        const manifestSha256 = sha256Hex(body(foreign.keys.manifest));
        return { more: { ref: { ...point.ref, manifestSha256 } }, key: point.keys.manifest };
      },
    },
    {
      name: "an earlier checkpoint's manifest",
      code: 'MANIFEST_INVALID',
      make: () => ({ more: { ref: { ...earlier.ref, id: point.ref.id } }, key: earlier.keys.manifest }),
    },
    {
      name: 'another key under the same name',
      code: 'KEY_WRONG',
      make: () => ({ more: { sealing: { ...one, key: two.key } }, key: point.keys.manifest }),
    },
    {
      name: 'a key of another name',
      code: 'KEY_WRONG',
      make: () => ({ more: { sealing: { ...one, id: 'other' } }, key: point.keys.manifest }),
    },
  ];

  describe('restored in full', () => {
    it('is as it was, undamaged', async () => expect(await run({})).to.equal(point.sum));
    for (const kind of kinds) {
      for (const { name, code, damage } of damages) {
        it(`is refused, ${kind}: ${name}`, async () => {
          damage(point.keys[kind], kind);
          await expectRefused(run({}), code, point.keys[kind]);
        });
      }
    }
    for (const { name, code, make } of mistakes) {
      it(`is refused: ${name}`, async () => {
        const { more, key } = make();
        await expectRefused(run(more), code, key);
      });
    }
  });

  describe('restored lazily', () => {
    it('is as it was, undamaged', async () => expect(await run(lazily())).to.equal(point.sum));
    for (const kind of kinds) {
      // What is no page is read before the ways part.
      const some = kind === 'pages' ? damages : damages.filter(({ name }) => /middle|^gone/.test(name));
      for (const { name, code, damage } of some) {
        it(`is refused, ${kind}: ${name}`, async () => {
          damage(point.keys[kind], kind);
          await expectRefused(run(lazily()), code, point.keys[kind]);
        });
      }
    }
  });

  describe('restored lazily, read by the frame as it is touched', () => {
    const byFrame = (): Partial<RestoreOptions> => ({ ...lazily(), prefetchWorkers: 0 });
    it('is as it was, undamaged', async () => expect(await run(byFrame())).to.equal(point.sum));
    const ofFrames: { name: string; code: ErrorCode; damage: (key: string) => void }[] = [
      { name: 'a byte of the frame changed', code: 'OBJECT_CORRUPT', damage: (key) => flip(key, point.pageAt) },
      {
        name: 'the end missing from that frame on',
        code: 'OBJECT_CORRUPT',
        damage: (key) => put(key, body(key).subarray(0, point.pageAt)),
      },
      ...damages
        .filter(({ name }) => /^gone|^nothing|^in its place/.test(name))
        .map((each) => ({
          ...each,
          damage: (key: string) => each.damage(key, 'pages'),
        })),
    ];
    for (const { name, code, damage } of ofFrames) {
      it(`is dead before it says anything: ${name}`, async () => {
        damage(point.keys.pages);
        await expectRefused(run(byFrame()), code, point.keys.pages);
      });
    }
  });
});
