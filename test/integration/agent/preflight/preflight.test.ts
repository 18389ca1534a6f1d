import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { findingsIn, type Finding } from '../../../../agent/preflight/checks.ts';
import { gatherFacts } from '../../../../agent/preflight/gather.ts';
import { PodferryError, type ErrorCode } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { killTree, Rig, statusField, until, whyNot, type Container } from '../criu/rig.ts';

const run = promisify(execFile);
const python = '/usr/bin/python3';
const program = fileURLToPath(new URL('program.py', import.meta.url));
const hugePages = '/proc/sys/vm/nr_hugepages';

interface Case {
  readonly thing: string;
  readonly codes: readonly ErrorCode[];
  /** What the message must say. */
  readonly says?: RegExp;
  /** CRIU itself dumps it, but what is restored is not what was; by default it fails. */
  readonly isDumped?: true;
  /** It would not stop. */
  readonly isStuck?: true;
  /** Something around the program: returns the folder it is told. */
  readonly around?: (rig: Rig) => Promise<string>;
}

const cases: readonly Case[] = [
  { thing: 'plain', codes: [] },
  { thing: 'deleted-small', codes: [] },
  { thing: 'watch', codes: [] },
  { thing: 'process-of-tree-watched', codes: [] },
  {
    thing: 'io-uring',
    codes: ['IO_URING_IN_USE'],
    says: /process \d+ \(python3[^)]*\) has anon_inode:\[io_uring\] \(fd \d+\)/,
  },
  { thing: 'userfaultfd', codes: ['FILE_KIND_UNSUPPORTED'], says: /\[userfaultfd\]/ },
  { thing: 'perf-counter', codes: ['FILE_KIND_UNSUPPORTED'], says: /\[perf_event\]/ },
  { thing: 'memfd-secret', codes: ['MEMFD_SECRET_IN_USE'], says: /\(mapped\)/ },
  { thing: 'huge-pages', codes: ['HUGE_PAGES_IN_USE'], around: withHugePage },
  { thing: 'system-v-memory', codes: ['SYSV_MEMORY_IN_USE'] },
  { thing: 'device', codes: ['DEVICE_IN_USE'], says: /\/dev\/loop-control/ },
  { thing: 'mptcp', codes: ['MPTCP_IN_USE'] },
  { thing: 'vsock', codes: ['SOCKET_KIND_UNSUPPORTED'], says: /VSOCK/ },
  { thing: 'unix-peer', codes: ['UNIX_PEER_OUTSIDE'], around: withUnixServer },
  { thing: 'watch', codes: ['INOTIFY_ON_OVERLAY'], around: withOverlay },
  { thing: 'outside-mounts', codes: ['FILE_OUTSIDE_MOUNTS'] },
  { thing: 'deleted-large', codes: ['DELETED_FILE_LARGE'], says: /\/deleted \(deleted\) \(fd \d+\)/ },
  { thing: 'mapped-deleted-large', codes: ['DELETED_FILE_LARGE'], says: /\(mapped\)/ },
  { thing: 'name-lost', codes: ['FILE_NAME_LOST'], says: /\/first/ },
  { thing: 'traced', codes: ['PROCESS_TRACED'] },
  { thing: 'vfork', codes: ['PROCESS_UNFREEZABLE'], isStuck: true },
  { thing: 'process-watched', codes: ['PROCESS_WATCHED'] },
  { thing: 'namespace-pid', codes: ['NAMESPACE_NESTED'], says: /pid/ },
  { thing: 'namespace-user', codes: ['NAMESPACE_NESTED'], says: /user/ },
  { thing: 'namespace-ipc', codes: ['NAMESPACE_NESTED'], says: /ipc/ },
  { thing: 'namespace-hostname', codes: ['NAMESPACE_NESTED'], says: /uts/ },
  { thing: 'namespace-cgroup', codes: ['NAMESPACE_NESTED'], says: /cgroup/ },
  { thing: 'namespace-time', codes: ['NAMESPACE_NESTED'], says: /time/ },
  { thing: 'namespace-mount', codes: ['NAMESPACE_NESTED'], says: /mnt/, isDumped: true },
  { thing: 'namespace-network', codes: ['NAMESPACE_NESTED'], says: /net/, isDumped: true },
];

async function withHugePage(rig: Rig): Promise<string> {
  const before = (await readFile(hugePages, 'utf8')).trim();
  await writeFile(hugePages, String(Number(before) + 1));
  rig.onClose(() => writeFile(hugePages, before));
  return rig.dir;
}

async function withUnixServer(rig: Rig): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(rig.dir, 'socket'), resolve));
  rig.onClose(() => void server.close());
  return rig.dir;
}

async function withOverlay(rig: Rig): Promise<string> {
  const parts = ['lower', 'upper', 'work', 'merged'].map((name) => join(rig.dir, name));
  for (const part of parts) await mkdir(part);
  const [lower, upper, work, merged = ''] = parts;
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  await run('mount', ['-t', 'overlay', 'overlay', '-o', options, merged]);
  rig.onClose(async () => void (await run('umount', [merged])));
  return merged;
}

/** Starts the program; the reason when this machine cannot do what it does. */
async function start(rig: Rig, container: Container, thing: string, folder: string): Promise<number | string> {
  const argv = ['env', `WATCHED=${process.pid}`, python, program, thing, folder];
  const pid = await rig.start(container, argv);
  const [word = '', ...more] = (
    await until(`${thing} to be up`, async () =>
      (await container.lines()).find((line) => /^up|^unsupported/.test(line)),
    )
  ).split(' ');
  return word === 'up' ? pid : more.join(' ');
}

async function look(rig: Rig, container: Container, rootPid: number): Promise<readonly Finding[]> {
  const options = { rootPid, containerPid: container.pid, binary: rig.placeholder, criu: '4.2.1' };
  return findingsIn(await gatherFacts(options));
}

/** Why no checkpoint of it can be taken, or undefined when one was; the tree is stopped or runs after it. */
async function checkpointFault(rig: Rig, container: Container, rootPid: number): Promise<string | undefined> {
  const where = { store: new MemoryStore(), keyPrefix: 'test/', sealing: sealingFor('one') };
  try {
    await takeCheckpoint({ ...rig.taking(container, rootPid), ...where, deadlineMs: 15_000 });
    return undefined;
  } catch (error) {
    if (error instanceof PodferryError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

describe('preflight, of real programs', function () {
  this.timeout(60_000);
  let rig: Rig;

  before(function () {
    const reason = whyNot() ?? (existsSync(python) ? undefined : `needs ${python}`);
    if (reason !== undefined) {
      console.log(`      skipped: ${reason}`);
      this.skip();
    }
  });
  beforeEach(async () => {
    rig = await Rig.make();
  });
  afterEach(() => rig.close());

  for (const { thing, codes, says, isDumped, isStuck, around } of cases) {
    const outcome = codes.length === 0 ? 'is moved' : `is refused with ${codes.join(', ')}`;
    it(`${thing}${around === undefined ? '' : `, ${around.name}`}: ${outcome}`, async function () {
      const container = await rig.container('source');
      const started = await start(rig, container, thing, (await around?.(rig)) ?? rig.dir);
      if (typeof started === 'string') {
        console.log(`      skipped: this kernel has no ${thing}: ${started}`);
        this.skip();
      }
      if (isStuck === true)
        await until('it to be stuck', async () => (await statusField(started, 'State'))?.startsWith('D') || undefined);
      const findings = await look(rig, container, started);
      expect(findings.map(({ code }) => code)).to.deep.equal(codes);
      if (says !== undefined) expect(findings[0]?.message).to.match(says);
      if (isStuck === true) return;

      const fault = await checkpointFault(rig, container, started);
      if (codes.length === 0 || isDumped === true) expect(fault).to.equal(undefined);
      else expect(fault).to.match(/^CRIU_DUMP_FAILED/);
    });
  }

  it('finds nothing in a tree that was restored', async () => {
    const container = await rig.container('source');
    const rootPid = Number(await start(rig, container, 'plain', rig.dir));
    const store = new MemoryStore();
    const sealing = sealingFor('one');
    const { ref } = await takeCheckpoint({ ...rig.taking(container, rootPid), store, keyPrefix: 'test/', sealing });
    await killTree(rootPid);
    const target = await rig.container('target');
    const tree = await restoreCheckpoint({ ...rig.restoring(target), store, ref, sealing });
    rig.onClose(() => killTree(tree.rootPid));
    expect(await look(rig, target, tree.rootPid)).to.deep.equal([]);
  });

  it('tells of all that is in the way at once', async () => {
    const container = await rig.container('source');
    const started = await start(rig, container, 'several', rig.dir);
    expect(started, 'not supported here').to.be.a('number');
    const findings = await look(rig, container, Number(started));
    expect(findings.map(({ code }) => code)).to.deep.equal(['DEVICE_IN_USE', 'DELETED_FILE_LARGE', 'FILE_NAME_LOST']);
  });
});
