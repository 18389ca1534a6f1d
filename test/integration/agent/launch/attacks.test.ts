import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import type { Outcome } from '../../../../agent/launch/run-program.ts';
import type { Placeholder } from '../../../../agent/launch/placeholder.ts';
import { agentRootDir, buildPrograms, missingForPods, removePrograms, type Programs } from './support/fixtures.ts';
import { Pod, until } from './support/pod.ts';
import { preload } from './support/preload.ts';

/** Names that CRIU and its libraries execute through PATH. */
const executed = ['sh', 'iptables', 'ip6tables', 'iptables-restore', 'ip6tables-restore', 'ip', 'nft', 'tar', 'criu'];

describe("the agent's programs inside a hostile application's root", function () {
  this.timeout(30_000);
  let programs: Programs;
  let pod: Pod;
  let agentRoot: string;
  let placeholder: Placeholder;

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
    pod = await Pod.create(programs, agentRoot);
    ({ placeholder } = await pod.start());
    plant();
  });
  afterEach(async () => pod.remove());

  const mark = (): string => join(pod.root, 'evil-was-here');

  function plant(): void {
    const put = (path: string, content: string): void => {
      const file = join(pod.root, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content, { mode: 0o755 });
    };
    const library = (path: string): void => {
      mkdirSync(dirname(join(pod.root, path)), { recursive: true });
      copyFileSync(programs.evilLibrary, join(pod.root, path));
      chmodSync(join(pod.root, path), 0o755);
    };
    library('evil.so');
    put('etc/ld.so.preload', '/evil.so\n');
    put('etc/nsswitch.conf', 'passwd: evil\ngroup: evil\nhosts: evil\nservices: evil\nprotocols: evil\n');
    for (const folder of ['lib', 'usr/lib', 'lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib64', 'usr/lib64']) {
      for (const name of ['libnss_evil.so.2', 'libc.so.6', 'libselinux.so.1', 'libacl.so.1', 'libnftables.so.1']) {
        library(`${folder}/${name}`);
      }
    }
    library('usr/lib/criu/evil.so');
    library('usr/lib/x86_64-linux-gnu/criu/evil.so');
    library('usr/lib/x86_64-linux-gnu/gconv/UTF-16.so');
    put('etc/criu/default.conf', 'action-script /evil\nlibdir /usr/lib/criu\n');
    put('root/.criu/default.conf', 'action-script /evil\n');
    for (const folder of ['', 'bin', 'usr/bin', 'sbin', 'usr/sbin', 'usr/local/bin']) {
      mkdirSync(join(pod.root, folder), { recursive: true });
      for (const name of [...executed, 'evil']) {
        copyFileSync(programs.evilProgram, join(pod.root, folder, name));
        chmodSync(join(pod.root, folder, name), 0o755);
      }
    }
    symlinkSync('/evil', join(pod.root, 'rmt'));
  }

  async function run(program: string, ...args: readonly string[]): Promise<Outcome & { readonly stdout: string }> {
    return pod.call('run', placeholder.pid, program, args);
  }

  it('would be caught by these traps, were they started by a stock loader', async () => {
    const pid = await pod.call<number>('pid');
    const stock = `/proc/${pid}/root${realpathSync('/lib64/ld-linux-x86-64.so.2')}`;
    const libraries = `/proc/${pid}/root/lib/x86_64-linux-gnu`;
    const args = ['--target', String(placeholder.pid), '--mount', '--', stock, '--library-path', libraries];
    await pod.call('outside', 'nsenter', [...args, `/proc/${pid}/root/usr/bin/true`]);
    expect(existsSync(mark())).to.equal(true);
    rmSync(mark());
    await pod.call('outside', 'nsenter', ['--target', String(placeholder.pid), '--mount', '--', 'sh']);
    expect(existsSync(mark())).to.equal(true);
  });

  const calls: readonly { readonly name: string; readonly call: () => Promise<Outcome> }[] = [
    { name: 'find', call: async () => run('find', '/', '-xdev', '-printf', '%p %u %g\\n') },
    { name: 'tar, packing', call: async () => run('tar', '--create', '--file=/archive', '--acls', '--xattrs', '/etc') },
    { name: 'rm', call: async () => run('rm', '--force', '/archive') },
    { name: 'xargs', call: async () => run('xargs', '--version') },
    {
      name: 'criu check',
      call: async () => pod.call<Outcome>('criu', placeholder.pid, ['check'], preload(agentRoot, programs)),
    },
  ];
  for (const { name, call } of calls) {
    it(`load and execute nothing of it: ${name}`, async () => {
      const outcome = await call();
      if (name !== 'criu check') expect(outcome, outcome.stderr).to.include({ exitCode: 0 });
      expect(outcome.signal).to.equal(undefined);
      expect(existsSync(mark()), outcome.stderr).to.equal(false);
    });
  }

  it('load and execute nothing of it: tar, unpacking by names', async () => {
    const packed = await run('tar', '--create', '--file=/archive', '--owner=somebody', '--group=somebody', '/etc/criu');
    expect(packed, packed.stderr).to.include({ exitCode: 0 });
    const unpacked = await run('tar', '--extract', '--file=/archive', '--directory=/', '--numeric-owner');
    expect(unpacked, unpacked.stderr).to.include({ exitCode: 0 });
    expect(existsSync(mark())).to.equal(false);
  });

  it("let criu keep nothing in it: what it knows of the kernel is the agent's", async () => {
    const planted = join(pod.root, 'run/criu.kdat');
    mkdirSync(dirname(planted), { recursive: true });
    const check = async (): Promise<Outcome> =>
      pod.call<Outcome>('criu', placeholder.pid, ['check'], preload(agentRoot, programs));
    for (const name of [planted, `${planted}.tmp`]) writeFileSync(name, 'planted');
    await check();
    // CRIU removes a cache that it has read and that is not its own.
    for (const name of [planted, `${planted}.tmp`]) expect(readFileSync(name, 'utf8')).to.equal('planted');
    for (const name of [planted, `${planted}.tmp`]) rmSync(name);
    await check();
    expect(readdirSync(dirname(planted))).to.not.include.members(['criu.kdat', 'criu.kdat.tmp']);
  });

  it('load and execute nothing of it: criu dump with the network locked', async () => {
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'wait']);
    const images = join(pod.dir, 'images');
    mkdirSync(images);
    const dir = `/proc/${await pod.call<number>('pid')}/root${images}`;
    const options = ['--manage-cgroups=ignore', '--network-lock', 'nftables', '--leave-stopped', '-v1', '-D', dir];
    const args = ['dump', '--tree', String(pid), ...options];
    await until('the application', async () => (await pod.call<{ state: string }>('process', pid)).state === 'S');
    const outcome = await pod.call<Outcome>('criu', placeholder.pid, args, preload(agentRoot, programs));
    expect(outcome, outcome.stderr).to.include({ exitCode: 0 });
    expect(existsSync(mark())).to.equal(false);
  });
});
