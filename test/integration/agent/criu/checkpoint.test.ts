import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { takeCheckpoint, type TakenCheckpoint, type TakeOptions } from '../../../../agent/checkpoint/take.ts';
import { restoreCheckpoint, type RestoredTree, type RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import { parseManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import type { Store } from '../../../../agent/store/store.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import {
  bytesIn,
  continueAll,
  killTree,
  Rig,
  statusField,
  storeForTests,
  treeOf,
  until,
  whyNot,
  whyNotOtherUsers,
  type Container,
} from './rig.ts';

const python = '/usr/bin/python3';
const script = fileURLToPath(new URL('app.py', import.meta.url));

interface App {
  readonly container: Container;
  readonly pids: readonly number[];
}

/** Role -> digest of its memory, of lines such as "root sum 3fa9... 12 12 11 12". */
const digests = (lines: readonly string[], word: string): Record<string, string | undefined> =>
  Object.fromEntries(
    lines
      .map((line) => line.split(' '))
      .filter((fields) => fields[1] === word)
      .map(([role, , digest]) => [role, digest]),
  );

const counts = (lines: readonly string[], word: string): number[] =>
  lines.filter((line) => line.includes(` ${word} `)).flatMap((line) => line.split(' ').slice(3).map(Number));

async function startApp(rig: Rig, ...argv: string[]): Promise<App> {
  const container = await rig.container(`source-${randomUUID()}`);
  const pid = await rig.start(container, [python, script, ...argv]);
  await until('the application', async () => (counts(await container.lines(), 'up').length === 8 ? true : undefined));
  return { container, pids: await treeOf(pid) };
}

/** Has both processes print what they hold, and waits for it. */
async function sums(container: Container, pids: readonly number[]): Promise<Record<string, string | undefined>> {
  for (const pid of pids) process.kill(pid, 'SIGUSR1');
  await until('two sums', async () => {
    const both = Object.keys(digests(await container.lines(), 'sum')).length === 2;
    return both ? true : undefined;
  });
  return digests(await container.lines(), 'sum');
}

const sealing = sealingFor('one');

function take(rig: Rig, app: App, store: Store, more: Partial<TakeOptions> = {}): Promise<TakenCheckpoint> {
  return takeCheckpoint({
    ...rig.taking(app.container, app.pids[0] ?? 0),
    store,
    keyPrefix: 'test/default/deployment-app/one/',
    sealing,
    ...more,
  });
}

async function restore(
  rig: Rig,
  target: Container,
  store: Store,
  taken: Pick<TakenCheckpoint, 'ref'>,
  more: Partial<RestoreOptions> = {},
): Promise<RestoredTree> {
  const tree = await restoreCheckpoint({
    ...rig.restoring(target),
    store,
    ref: taken.ref,
    sealing,
    ...more,
  });
  rig.onClose(() => killTree(tree.rootPid));
  return tree;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return error instanceof PodferryError ? error.code : String(error);
  }
  return 'none';
}

async function expectStoppedAndUntraced(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    expect(await statusField(pid, 'State'), `state of ${pid}`).to.match(/^T /);
    expect(await statusField(pid, 'TracerPid')).to.equal('0');
  }
}

/** After a failed checkpoint the tree runs on as if nothing had happened. */
async function expectToRunOn(app: App): Promise<void> {
  continueAll(app.pids);
  const before = digests(await app.container.lines(), 'up');
  expect(await sums(app.container, app.pids)).to.deep.equal(before);
  for (const pid of app.pids) {
    expect(await statusField(pid, 'State')).to.match(/^[RS] /);
    expect(await statusField(pid, 'TracerPid')).to.equal('0');
  }
}

describe('checkpoint and restore with CRIU', function () {
  this.timeout(120_000);
  let rig: Rig;

  before(function () {
    const reason = whyNot();
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
  });
  beforeEach(async () => {
    rig = await Rig.make();
  });
  afterEach(() => rig.close());

  const applications = [
    { name: 'a process with threads and a child', argv: ['32'], otherUser: false },
    {
      name: 'another user under a seccomp filter, no new privileges',
      argv: ['8', '1000', 'filtered'],
      otherUser: true,
    },
  ];
  for (const { name, argv, otherUser } of applications) {
    it(`moves ${name} twice`, async function () {
      const reason = otherUser ? await whyNotOtherUsers() : undefined;
      if (reason !== undefined) {
        console.log(`      skipped: ${reason}`);
        this.skip();
      }
      const { store, isReal, close } = storeForTests();
      rig.onClose(close);
      const first = await startApp(rig, ...argv);
      const held = digests(await first.container.lines(), 'up');
      const fields = ['Uid', 'Groups', 'CapEff', 'Seccomp', 'NoNewPrivs', 'Threads'];
      const identity = await Promise.all(fields.map((field) => statusField(first.pids[0] ?? 0, field)));

      let app = first;
      for (const move of [1, 2]) {
        const taken = await take(rig, app, store, { generation: move - 1 });
        await expectStoppedAndUntraced(app.pids);
        expect(existsSync(join(rig.dir, 'take'))).to.equal(false);
        const seen = counts(await app.container.lines(), 'up');
        await killTree(app.pids[0] ?? 0);

        const target = await rig.container(`target-${move}`);
        const tree = await restore(rig, target, store, taken);
        expect(tree.pids).to.deep.equal(app.pids);
        await expectStoppedAndUntraced(tree.pids);
        expect(await target.lines()).to.deep.equal([]);
        expect(existsSync(join(rig.dir, 'restore'))).to.equal(false);

        continueAll(tree.pids);
        expect(await sums(target, tree.pids)).to.deep.equal(held);
        const threads = counts(await target.lines(), 'sum');
        expect(threads).to.have.length(8);
        expect(Math.min(...threads)).to.be.greaterThan(Math.min(0, ...seen));
        const after = await Promise.all(fields.map((field) => statusField(tree.rootPid, field)));
        expect(after).to.deep.equal(identity);
        const { freezeMs, pageBytes, storedBytes } = taken.transfer;
        console.log(
          `      ${isReal ? 'S3' : 'memory'}: ${pageBytes >> 20} MiB of pages, ${storedBytes >> 20} stored, ` +
            `frozen ${freezeMs} ms, restored in ${tree.tookMs} ms`,
        );
        app = { container: target, pids: tree.pids };
      }
    });
  }

  it('lets the tree go on once everything is read, before the checkpoint is complete, and keeps what was there then', async () => {
    const store = new MemoryStore();
    const app = await startApp(rig, '32');
    const held = digests(await app.container.lines(), 'up');
    const states: string[] = [];
    const taken = await take(rig, app, store, {
      onCaptured: () => {
        expect([...store.objects.keys()].filter((key) => key.endsWith('/manifest'))).to.deep.equal([]);
        continueAll(app.pids);
        // it writes to its memory while the rest of the checkpoint is still on its way
        for (const pid of app.pids) process.kill(pid, 'SIGUSR1');
      },
    });
    for (const pid of app.pids) states.push((await statusField(pid, 'State')) ?? '');
    expect(states.every((state) => /^[RS] /.test(state))).to.equal(true);
    await expectToRunOn(app);
    // a pack that nothing names any more was stored in a round before
    expect(taken.transfer.totalBytes).to.be.greaterThan(0).and.at.most(taken.transfer.storedBytes);
    await killTree(app.pids[0] ?? 0);

    const target = await rig.container('target');
    const tree = await restore(rig, target, store, taken);
    continueAll(tree.pids);
    expect(await sums(target, tree.pids)).to.deep.equal(held);
  });

  it('puts no page of private memory into a file, keeps its memory bounded, and leaves nothing in the work directory', async () => {
    const app = await startApp(rig, '256');
    const workDir = join(rig.dir, 'take');
    let most = 0;
    let rss = 0;
    let buffers = 0;
    const { rss: rssBefore, arrayBuffers: buffersBefore } = process.memoryUsage();
    const discarding: Store = {
      put: async () => {
        most = Math.max(most, await bytesIn(workDir));
        rss = Math.max(rss, process.memoryUsage().rss);
        buffers = Math.max(buffers, process.memoryUsage().arrayBuffers);
      },
      putOnce: () => Promise.resolve(),
      read: () => Promise.reject(new Error('unused')),
      get: () => Promise.reject(new Error('unused')),
      readRange: () => Promise.reject(new Error('unused')),
      list: () => {
        throw new Error('unused');
      },
      delete: () => Promise.reject(new Error('unused')),
    };
    const { transfer } = await take(rig, app, discarding);
    expect(transfer.pageBytes).to.be.greaterThan(512 << 20);
    // Pages of zeroes are not stored.
    expect(transfer.storedBytes).to.be.lessThan(transfer.pageBytes - (8 << 20) + (2 << 20));
    expect(most)
      .to.be.greaterThan(1)
      .and.lessThan(8 << 20);
    // Buffers, and four threads with a TypeScript loader each.
    expect(rss - rssBefore).to.be.lessThan(416 << 20);
    expect(buffers - buffersBefore).to.be.lessThan(160 << 20);
    expect(existsSync(workDir)).to.equal(false);
    console.log(
      `      work directory ${most >> 10} KiB, memory +${(rss - rssBefore) >> 20} MiB over ${rssBefore >> 20}`,
    );
  });

  it('carries files: asked for when everything is stopped, handed over before CRIU restores', async () => {
    const store = new MemoryStore();
    const app = await startApp(rig, '4');
    const content = Buffer.alloc(20 * 1024 * 1024, 'some file of the writable layer');
    const held: boolean[] = [];
    const taken = await take(rig, app, store, {
      files: async () => {
        for (const pid of app.pids) {
          const [tracer, state] = await Promise.all([statusField(pid, 'TracerPid'), statusField(pid, 'State')]);
          held.push(Number(tracer) > 0 || state?.startsWith('T') === true);
        }
        return {
          archive: Readable.from([content.subarray(0, 9_999_999), content.subarray(9_999_999)]),
          deleted: ['/x'],
        };
      },
    });
    // By CRIU, where one may be running code of CRIU's; or stopped, when CRIU has gone.
    expect(held).to.deep.equal(app.pids.map(() => true));
    expect(taken.transfer.fileBytes).to.equal(content.byteLength);
    await killTree(app.pids[0] ?? 0);

    const got: Buffer[] = [];
    await restore(rig, await rig.container('target'), store, taken, {
      unpackFiles: async (archive, deleted) => {
        expect(deleted).to.deep.equal(['/x']);
        expect(existsSync(`/proc/${app.pids[0]}`)).to.equal(false);
        for await (const chunk of archive as AsyncIterable<Buffer>) got.push(chunk);
      },
    });
    expect(Buffer.concat(got).equals(content)).to.equal(true);
  });

  describe('a checkpoint that fails', () => {
    const failures: { name: string; code: string; prepare: (store: MemoryStore) => Partial<TakeOptions> }[] = [
      {
        name: 'because the store refuses everything',
        code: 'STORE_WRITE_FAILED',
        prepare: (store) => {
          store.refusesPutsFrom = 0;
          return {};
        },
      },
      {
        name: 'because the store refuses from the third pack on',
        code: 'STORE_WRITE_FAILED',
        prepare: (store) => {
          store.refusesPutsFrom = 2;
          return {};
        },
      },
      {
        name: 'because the store does not answer',
        code: 'DEADLINE_EXCEEDED',
        prepare: (store) => {
          store.hangs = true;
          return { deadlineMs: 2_000 };
        },
      },
      {
        name: 'because files cannot be read',
        code: 'FILES_FAILED',
        prepare: () => ({ files: () => Promise.reject(new PodferryError('FILES_FAILED', 'no')) }),
      },
      {
        name: 'because it is cancelled when everything is stopped',
        code: 'CANCELLED',
        prepare: () => {
          const controller = new AbortController();
          return {
            signal: controller.signal,
            onStopped: () => controller.abort(new PodferryError('CANCELLED', 'cancelled')),
          };
        },
      },
    ];
    for (const { name, code, prepare } of failures) {
      it(`${name} leaves the application as it was`, async () => {
        const store = new MemoryStore();
        const app = await startApp(rig, '64');
        expect(await codeOf(take(rig, app, store, prepare(store)))).to.equal(code);
        expect([...store.objects.keys()].filter((key) => key.includes('manifest'))).to.deep.equal([]);
        expect(existsSync(join(rig.dir, 'take'))).to.equal(false);
        await expectToRunOn(app);
      });
    }

    it("says in CRIU's words what cannot be dumped", async () => {
      const container = await rig.container('outside');
      // A datagram socket connected to one that is not in the tree.
      const code = `import socket,os,sys,time
a,b=socket.socketpair()
if os.fork(): sys.stdout.write("parent\\n"); sys.stdout.flush(); b.close(); time.sleep(1000)
os.setsid(); a.close(); sys.stdout.write(f"{os.getpid()}\\n"); sys.stdout.flush(); time.sleep(1000)`;
      await rig.start(container, [python, '-c', code]);
      const pid = await until('the child', async () => (await container.lines()).map(Number).find((n) => n > 0));
      let error: unknown;
      await take(rig, { container, pids: [pid] }, new MemoryStore()).catch((thrown: unknown) => {
        error = thrown;
      });
      expect(error).to.be.instanceOf(PodferryError);
      expect((error as PodferryError).code).to.equal('CRIU_DUMP_FAILED');
      expect((error as PodferryError).message).to.match(/unix/i);
    });
  });

  describe('a restore that fails', () => {
    const store = new MemoryStore();
    let taken: TakenCheckpoint;
    let pids: readonly number[];
    let manifest: Manifest;

    beforeEach(async () => {
      store.objects.clear();
      const app = await startApp(rig, '24');
      taken = await take(rig, app, store);
      pids = app.pids;
      manifest = parseManifest(store.objects.get(taken.ref.manifestKey) ?? Buffer.alloc(0), sealing);
      await killTree(app.pids[0] ?? 0);
    });

    /** The object that holds a stored part of the checkpoint. */
    const lazyPack = (): string =>
      manifest.packs[[...(manifest.pages[0]?.runs ?? [])].find((run) => run.pack >= 0 && run.flags === 6)?.pack ?? -1]
        ?.key ?? '';
    const imagePack = (): string => manifest.packs[manifest.images[0]?.at[0]?.pack ?? -1]?.key ?? '';
    const edit = (key: string, change: (bytes: Buffer) => Buffer): void => {
      store.objects.set(key, change(store.objects.get(key) ?? Buffer.alloc(0)));
    };
    const flip = (bytes: Buffer): Buffer => {
      bytes.writeUInt8(bytes.readUInt8(bytes.byteLength >> 1) ^ 1, bytes.byteLength >> 1);
      return bytes;
    };

    const damages: { name: string; code: string; damage: () => Partial<RestoreOptions> | void }[] = [
      { name: 'a flipped bit in pages', code: 'OBJECT_CORRUPT', damage: () => edit(lazyPack(), flip) },
      { name: 'a flipped bit in metadata', code: 'OBJECT_CORRUPT', damage: () => edit(imagePack(), flip) },
      { name: 'truncated pages', code: 'OBJECT_CORRUPT', damage: () => edit(lazyPack(), (b) => b.subarray(0, -1)) },
      { name: 'missing pages', code: 'OBJECT_MISSING', damage: () => void store.objects.delete(lazyPack()) },
      { name: 'a missing manifest', code: 'OBJECT_MISSING', damage: () => store.objects.clear() },
      { name: 'a changed manifest', code: 'OBJECT_CORRUPT', damage: () => edit(taken.ref.manifestKey, flip) },
      {
        name: 'the checkpoint of another instance',
        code: 'MANIFEST_INVALID',
        damage: () => ({ sealing: { ...sealing, instance: 'two' } }),
      },
      {
        name: 'a container that is gone',
        code: 'PLACEHOLDER_MISSING',
        damage: () => ({ stdioPid: 2 ** 22 - 1 }),
      },
      {
        name: 'a CRIU that cannot be run',
        code: 'CRIU_RESTORE_FAILED',
        damage: () => ({ runRestore: () => Promise.reject(new PodferryError('CRIU_RESTORE_FAILED', 'no')) }),
      },
    ];
    for (const { name, code, damage } of damages) {
      it(`because of ${name} leaves no process behind`, async () => {
        const more = damage() ?? {};
        const target = await rig.container('target');
        expect(await codeOf(restore(rig, target, store, taken, more))).to.equal(code);
        for (const pid of pids) expect(await statusField(pid, 'State')).to.be.oneOf([undefined, 'Z (zombie)']);
        expect(existsSync(join(rig.dir, 'restore'))).to.equal(false);
        expect(await target.lines()).to.deep.equal([]);
      });
    }
  });

  it("says in CRIU's words what cannot be restored", async () => {
    const store = new MemoryStore();
    const held = join(rig.dir, 'held');
    const container = await rig.container('source');
    const code = `import sys,time
f=open('${held}','w'); f.write('content'); f.flush(); sys.stdout.write('up\\n'); sys.stdout.flush(); time.sleep(1000)`;
    const pid = await rig.start(container, [python, '-c', code]);
    await until('the file', async () => ((await container.lines()).length > 0 ? true : undefined));
    const taken = await take(rig, { container, pids: [pid] }, store);
    await killTree(pid);
    await writeFile(held, 'other content');
    const target = await rig.container('target');
    const error: unknown = await restore(rig, target, store, taken).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PodferryError).with.property('code', 'CRIU_RESTORE_FAILED');
    expect((error as Error).message).to.match(/bad size/i);
    expect(await statusField(pid, 'State')).to.be.oneOf([undefined, 'Z (zombie)']);
  });

  it('refuses a restore where a pid is taken, before anything is made', async () => {
    const store = new MemoryStore();
    const app = await startApp(rig, '4');
    const taken = await take(rig, app, store);
    expect(await codeOf(restore(rig, await rig.container('target'), store, taken))).to.equal('PID_IN_USE');
    await expectToRunOn(app);
  });
});
