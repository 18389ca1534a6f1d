import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { FileChanges } from '../../../../agent/files/changes.ts';
import type { Placeholder } from '../../../../agent/launch/placeholder.ts';
import {
  agentRootDir,
  buildPrograms,
  missingForPods,
  removePrograms,
  type Programs,
} from '../launch/support/fixtures.ts';
import { CallError, Pod } from '../launch/support/pod.ts';

const dataDirs = ['/data'];
const sparseBytes = 64 << 20;

describe('the changed files of a container', function () {
  this.timeout(30_000);
  let programs: Programs;
  let source: Pod;
  let target: Pod;
  let agentRoot: string;

  before(function () {
    const missing = missingForPods() ?? (agentRootDir() === undefined ? 'needs hack/testbed/agent-root.sh' : undefined);
    if (missing !== undefined) {
      console.log(`    skipped: ${missing}`);
      this.skip();
    }
    agentRoot = agentRootDir() ?? '';
    programs = buildPrograms();
  });
  after(() => removePrograms(programs));
  beforeEach(async () => {
    [source, target] = await Promise.all([Pod.create(programs, agentRoot), Pod.create(programs, agentRoot)]);
    layImage(source.root);
    cpSync(source.root, target.root, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  });
  afterEach(async () => {
    await Promise.all([source.remove(), target.remove()]);
  });

  /** Starts both containers, lets `change` be the application of the source, and carries its changes to the target. */
  async function carry(change: () => void | Promise<void>): Promise<FileChanges> {
    const from = await source.start({ dataDirs });
    const baseline = join(source.dir, 'baseline');
    const archive = join(source.dir, 'archive');
    await source.call('baseline', from.placeholder.pid, dataDirs, baseline);
    await change();
    const changes = await source.call<FileChanges>('changes', from.placeholder.pid, dataDirs, baseline);
    await source.call('pack', from.placeholder.pid, changes.changed, archive);
    const to = await target.start({ dataDirs });
    await target.call('unpack', to.placeholder.pid, changes.deleted, archive, target.binary, []);
    return changes;
  }

  it('are none in a container where nothing happened', async () => {
    const changes = await carry(() => undefined);
    expect(changes).to.deep.equal({ changed: [], deleted: [], bytes: 0 });
  });

  it('arrive as they are, whatever they are called and whatever they are', async () => {
    const { root } = source;
    const volume = join(source.dir, 'volumes/_data');
    const changes = await carry(async () => {
      for (const name of ['plain', 'a b', '-rf', '--checkpoint=1', 'new\nline', '*[x]?\\', 'é', 'T\t']) {
        writeFileSync(join(root, 'var', name), name);
      }
      writeFileSync(Buffer.concat([Buffer.from(join(root, 'var/')), Buffer.from([0xff, 0xfe])]), 'no UTF-8');
      appendLine(join(root, 'etc/conf'));
      chmodSync(join(root, 'etc/mode'), 0o4751);
      chownSync(join(root, 'etc/owner'), 1000, 2000);
      // As cp -p: another content of the same size with the old time.
      const times = statSync(join(root, 'etc/same'));
      writeFileSync(join(root, 'etc/same'), 'SAME');
      utimesSync(join(root, 'etc/same'), times.atime, times.mtime);
      renameSync(join(root, 'etc/old-name'), join(root, 'etc/new-name'));
      unlinkSync(join(root, 'etc/gone'));
      rmSync(join(root, 'opt/gone'), { recursive: true });
      rmSync(join(root, 'opt/becomes-file'), { recursive: true });
      writeFileSync(join(root, 'opt/becomes-file'), 'file');
      unlinkSync(join(root, 'etc/becomes-dir'));
      mkdirSync(join(root, 'etc/becomes-dir/deep'), { recursive: true });
      symlinkSync('/etc/conf', join(root, 'var/absolute'));
      symlinkSync('nowhere\n', join(root, 'var/dangling'));
      unlinkSync(join(root, 'etc/link'));
      symlinkSync('mode', join(root, 'etc/link'));
      linkSync(join(root, 'var/plain'), join(root, 'var/hard'));
      mkdirSync(join(root, 'var/closed'), { mode: 0o500 });
      writeFileSync(join(root, 'var/closed/in'), 'x', { mode: 0o000 });
      execFileSync('mkfifo', ['-m', '0640', join(root, 'var/fifo')]);
      execFileSync('python3', [
        '-c',
        'import os,sys; os.setxattr(sys.argv[1], "user.note", b"n\\0te")',
        join(root, 'var/plain'),
      ]);
      truncateSync(openNew(join(root, 'var/sparse')), sparseBytes);
      writeFileSync(join(volume, 'state'), 'in a volume');
      chmodSync(volume, 0o1777);
      await bindSocket(join(root, 'var/socket'));
    });
    expect(changes.deleted).to.include.members(['/etc/gone', '/opt/gone/deep/file', '/opt/gone', '/etc/old-name']);
    for (const dir of ['etc', 'opt', 'var']) {
      const expected = tree(join(root, dir));
      delete expected['socket']; // its process makes it anew
      expect(tree(join(target.root, dir)), dir).to.deep.equal(expected);
    }
    expect(tree(join(target.dir, 'volumes/_data'))).to.deep.equal(tree(volume));
    expect(statSync(join(target.root, 'var/hard')).ino).to.equal(statSync(join(target.root, 'var/plain')).ino);
    expect(statSync(join(target.root, 'var/sparse')).blocks).to.be.below(1_000);
    expect(statSync(join(source.dir, 'archive')).size).to.be.below(1 << 20);
    const note = ['-c', 'import os,sys; print(os.getxattr(sys.argv[1], "user.note"))', join(target.root, 'var/plain')];
    expect(String(execFileSync('python3', note))).to.include('te');
  });

  it('do not lead out of the container by a link that stands in their way', async () => {
    const outside = join(target.dir, 'outside');
    mkdirSync(outside);
    const escape = `/proc/${await target.call<number>('pid')}/root${outside}`;
    for (const pod of [source, target]) symlinkSync(escape, join(pod.root, 'opt/escape'));
    await carry(() => {
      unlinkSync(join(source.root, 'opt/escape'));
      mkdirSync(join(source.root, 'opt/escape'));
      writeFileSync(join(source.root, 'opt/escape/file'), 'x');
    });
    expect(readdirSync(outside)).to.deep.equal([]);
    expect(readFileSync(join(target.root, 'opt/escape/file'), 'utf8')).to.equal('x');
  });

  it("are not those of the agent's volume, /proc, /sys or /dev", async () => {
    const { changed } = await carry(() => writeFileSync(join(source.dir, 'shared/run/x'), 'x'));
    expect(changed).to.deep.equal([]);
  });

  it('are still found after a second move', async () => {
    await carry(() => writeFileSync(join(source.root, 'var/state'), 'one'));
    // The target's own baseline was its image: what came with the move counts as changed again.
    const baseline = join(source.dir, 'baseline');
    const placeholder = await target.call<Placeholder>('findPlaceholder', target.binary);
    const changes = await target.call<FileChanges>('changes', placeholder.pid, dataDirs, baseline);
    expect(changes.changed).to.include('/var/state');
  });

  it('never end well while incomplete', async () => {
    const { placeholder } = await source.start({ dataDirs });
    const archive = join(source.dir, 'archive');
    const error = await failureOf(source.call('pack', placeholder.pid, ['/etc/conf', '/etc/none'], archive));
    expect(error.code).to.equal('FILES_FAILED');
    expect(error.message).to.include('/etc/none');
  });

  it('are refused from an archive that breaks off', async () => {
    const { placeholder } = await source.start({ dataDirs });
    const archive = join(source.dir, 'archive');
    writeFileSync(join(source.root, 'var/big'), Buffer.alloc(1 << 20, 1));
    await source.call('pack', placeholder.pid, ['/var/big'], archive);
    truncateSync(archive, 300_000);
    const to = await target.start({ dataDirs });
    const error = await failureOf(target.call('unpack', to.placeholder.pid, [], archive, target.binary, []));
    expect(error.code).to.equal('FILES_FAILED');
  });

  it('are not deleted when something unknown is in the way, and missing ones do no harm', async () => {
    const { placeholder } = await source.start({ dataDirs });
    const archive = join(source.dir, 'archive');
    await source.call('pack', placeholder.pid, ['/etc/conf'], archive);
    const unpack = async (deleted: readonly string[]): Promise<unknown> =>
      source.call('unpack', placeholder.pid, deleted, archive, source.binary, []);
    await unpack(['/none/at/all', '/etc/none']);
    const error = await failureOf(unpack(['/opt/gone']));
    expect(error.code).to.equal('FILES_FAILED');
    expect(existsSync(join(source.root, 'opt/gone/deep/file'))).to.equal(true);
  });

  it('cannot be listed in a container that has ended', async () => {
    const { container, placeholder } = await source.start({ dataDirs });
    process.kill(source.hostPid(placeholder.pid), 'SIGKILL');
    await container.ended;
    const baseline = source.call('baseline', placeholder.pid, dataDirs, join(source.dir, 'baseline'));
    expect((await failureOf(baseline)).code).to.equal('FILES_FAILED');
  });

  it("are charged to the container's memory where they are memory", async () => {
    const bytes = 16 << 20;
    const from = await source.start();
    const archive = join(source.dir, 'archive');
    // Both containers have their own /dev/shm.
    const root = `/proc/${source.hostPid(from.placeholder.pid)}/root`;
    writeFileSync(`${root}/dev/shm/segment`, Buffer.alloc(bytes, 7));
    await source.call('pack', from.placeholder.pid, ['/dev/shm/segment'], archive);
    const to = await target.start();
    const mountDir = join(target.dir, 'cgroup');
    const procs = await target.call<string[]>('cgroupProcsFiles', to.placeholder.pid, mountDir);
    const usage = (): number => {
      const file =
        procs.find((path) => path.includes('/memory/')) ?? procs.find((path) => path.includes('unified')) ?? '';
      const name = file.includes('/memory/') ? 'memory.usage_in_bytes' : 'memory.current';
      return Number(readFileSync(file.replace('cgroup.procs', name), 'utf8'));
    };
    expect(usage()).to.be.below(bytes);
    await target.call('unpack', to.placeholder.pid, [], archive, target.binary, procs);
    expect(usage()).to.be.at.least(bytes);
  });
});

function layImage(root: string): void {
  for (const dir of ['etc', 'var', 'data', 'opt/gone/deep', 'opt/becomes-file/deep']) {
    mkdirSync(join(root, dir), { recursive: true });
  }
  for (const name of ['conf', 'mode', 'owner', 'gone', 'old-name', 'becomes-dir']) {
    writeFileSync(join(root, 'etc', name), name);
  }
  writeFileSync(join(root, 'etc/same'), 'same');
  symlinkSync('conf', join(root, 'etc/link'));
  writeFileSync(join(root, 'opt/gone/deep/file'), 'x');
}

function appendLine(path: string): void {
  const fd = openSync(path, 'a');
  writeSync(fd, 'line\n');
  closeSync(fd);
}

function openNew(path: string): string {
  writeFileSync(path, 'head');
  return path;
}

async function bindSocket(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  // Closing would remove it; an application that is frozen keeps it.
  server.unref();
}

/** Everything below a folder that the application could tell apart. */
function tree(root: string): Record<string, string> {
  const facts: Record<string, string> = {};
  const visit = (path: Buffer, name: string): void => {
    const stat = lstatSync(path, { bigint: true });
    const kind = stat.mode >> 12n;
    const times = stat.isSymbolicLink() ? '' : stat.mtimeNs;
    const content = stat.isFile()
      ? createHash('sha256').update(readFileSync(path)).digest('hex')
      : stat.isSymbolicLink()
        ? readlinkSync(path)
        : '';
    facts[name] = [kind, stat.mode & 0o7777n, stat.uid, stat.gid, times, content].join(' ');
    if (!stat.isDirectory()) return;
    for (const entry of readdirSync(path, { encoding: 'buffer' })) {
      const below = name === '' ? entry.toString('latin1') : `${name}/${entry.toString('latin1')}`;
      visit(Buffer.concat([path, Buffer.from('/'), entry]), below);
    }
  };
  visit(Buffer.from(root), '');
  return facts;
}

async function failureOf(call: Promise<unknown>): Promise<CallError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof CallError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}
