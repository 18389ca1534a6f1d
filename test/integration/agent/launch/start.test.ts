import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Process } from '../../../../agent/launch/proc-stat.ts';
import type { ApplicationTree } from '../../../../agent/launch/process-tree.ts';
import { buildPrograms, missingForPods, removePrograms, type Programs } from './support/fixtures.ts';
import { CallError, Pod, until, type ContainerSpec } from './support/pod.ts';

const defaultCapabilities = ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID'];

describe('an application started in its container', function () {
  this.timeout(30_000);
  let programs: Programs;
  let pod: Pod;

  before(function () {
    const missing = missingForPods();
    if (missing !== undefined) {
      console.log(`    skipped: ${missing}`);
      this.skip();
    }
    programs = buildPrograms();
  });
  after(() => removePrograms(programs));
  beforeEach(async () => {
    pod = await Pod.create(programs);
  });
  afterEach(async () => pod.remove());

  const specs: readonly { readonly name: string; readonly spec: ContainerSpec }[] = [
    {
      name: 'root with the usual capabilities',
      spec: { capabilities: defaultCapabilities, env: ['A=1', 'PATH=/', 'B=x y'] },
    },
    {
      name: 'uid 1000 with no capability, no_new_privs, a seccomp filter, limits and a working directory',
      spec: {
        uid: 1000,
        seccomp: true,
        cwd: '/data',
        dataDirs: ['/data'],
        rlimits: [
          { type: 'RLIMIT_NOFILE', hard: 512, soft: 256 },
          { type: 'RLIMIT_CORE', hard: 0, soft: 0 },
        ],
      },
    },
  ];
  for (const { name, spec } of specs) {
    it(`has what a normal start gives: ${name}`, async () => {
      const normal = pod.run(['/app', 'status'], spec);
      await normal.ended;
      const { container, placeholder } = await pod.start(spec);
      await pod.call('startApp', placeholder, ['/app', 'status']);
      expect(await container.ended).to.deep.equal({ code: 0, signal: null });
      expect(comparable(normal.output())).to.include('CapEff:').and.to.include('leader 1');
      expect(comparable(container.output())).to.equal(comparable(normal.output()));
    });
  }

  const exits = [
    { words: ['exit', '0'], code: 0 },
    { words: ['exit', '3'], code: 3 },
    { words: ['segv'], code: 139 },
  ];
  for (const { words, code } of exits) {
    it(`ends its container with ${code} after ${words.join(' ')}, and leaves word of it`, async () => {
      const { container, placeholder } = await pod.start();
      await pod.call('lastWord', placeholder);
      expect(await pod.call('end', placeholder)).to.equal('running');
      const pid = await pod.call<number>('startApp', placeholder, ['/app', ...words]);
      expect(pid).to.be.at.least(10_000);
      expect((await container.ended).code).to.equal(code);
      expect(await pod.call('end', placeholder)).to.deep.equal({ exitCode: code });
    });
  }

  it('leaves no word when its container is killed', async () => {
    const { container, placeholder } = await pod.start();
    await pod.call('lastWord', placeholder);
    process.kill(pod.hostPid(placeholder.pid), 'SIGKILL');
    await container.ended;
    expect(await pod.call('end', placeholder)).to.equal('killed');
  });

  it('ends its container with 137 when it is killed', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'sleep']);
    await pod.call('signal', pid, 'SIGKILL');
    expect((await container.ended).code).to.equal(137);
  });

  const unstartable = [
    { name: 'a missing program', argv: ['/none'], errno: 'ENOENT', code: 127 },
    { name: 'a name that is not in PATH', argv: ['none'], errno: 'ENOENT', code: 127 },
    { name: 'a file without execute permission', argv: ['/plain'], errno: 'EACCES', code: 126 },
    { name: 'a file that is no program', argv: ['/text'], errno: 'ENOEXEC', code: 126 },
  ];
  for (const { name, argv, errno, code } of unstartable) {
    it(`fails with ${errno}, its container with ${code}, for ${name}`, async () => {
      writeFileSync(join(pod.root, 'plain'), 'x', { mode: 0o644 });
      writeFileSync(join(pod.root, 'text'), 'no program', { mode: 0o755 });
      const { container, placeholder } = await pod.start();
      const error = await failureOf(pod.call('startApp', placeholder, argv));
      expect(error).to.include({ code: 'APP_START_FAILED' });
      expect(error.detail).to.include({ errno });
      expect((await container.ended).code).to.equal(code);
    });
  }

  it('gets every byte of its arguments: empty, blank, not ASCII, 100 KB and more of them than one message holds', async () => {
    const { container, placeholder } = await pod.start();
    const words = ['', ' ', 'é\n*"$', ...Array.from({ length: 8 }, (_, i) => 'x'.repeat(100_000 + i))];
    await pod.call('startApp', placeholder, ['/app', 'lengths', ...words]);
    await container.ended;
    expect(container.output().trim().split('\n').map(Number)).to.deep.equal(
      words.map((word) => Buffer.byteLength(word)),
    );
  });

  it('is found through PATH of its container', async () => {
    const { container, placeholder } = await pod.start({ env: ['PATH=/nowhere:/'] });
    await pod.call('startApp', placeholder, ['app', 'argv', 'a b']);
    await container.ended;
    expect(container.output()).to.equal('<a b>\n');
  });

  it('receives SIGTERM and ends its container by its own will', async () => {
    const { container, placeholder } = await pod.start();
    await pod.call('startApp', placeholder, ['/app', 'wait']);
    await until('the application', () => container.output().includes('waiting'));
    process.kill(pod.hostPid(placeholder.pid), 'SIGTERM');
    expect((await container.ended).code).to.equal(7);
    expect(container.output()).to.include('got 15');
  });

  it('receives SIGTERM when it continues, if it was stopped then', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'wait']);
    await until('the application', () => container.output().includes('waiting'));
    const stopped = await pod.call<Process[]>('stopTree', pid);
    process.kill(pod.hostPid(placeholder.pid), 'SIGTERM');
    await pod.call('ping', placeholder);
    expect((await pod.call<Process>('process', pid)).state).to.equal('T');
    await pod.call('continueTree', stopped);
    expect((await container.ended).code).to.equal(7);
  });

  it('is reported once, even to many questions at a time', async () => {
    const { placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'sleep']);
    const states = await pod.call<object[]>('pings', placeholder, 50);
    expect(states).to.have.length(50);
    for (const state of states) expect(state).to.deep.equal({ appPid: pid, hold: false });
  });

  it('is not started twice', async () => {
    const { placeholder } = await pod.start();
    await pod.call('startApp', placeholder, ['/app', 'sleep']);
    const error = await failureOf(pod.call('startApp', placeholder, ['/app', 'sleep']));
    expect(error.detail).to.include({ errno: 'EBUSY' });
  });

  it('survives nonsense on the channel, and the channel does too', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'wait']);
    await pod.call('garble', placeholder.pid, 'ff'.repeat(5_000));
    await pod.call('garble', placeholder.pid, `50524631${'00'.repeat(16)}ffffffff`);
    await pod.call('garble', placeholder.pid, `50524631${'63000000'.repeat(4)}00000000`);
    expect(await pod.call('ping', placeholder)).to.deep.equal({ appPid: pid, hold: false });
    await pod.call('signal', pid, 'SIGTERM');
    expect((await container.ended).code).to.equal(7);
  });

  it('keeps its orphans as descendants, and leaves nothing when its tree is killed', async () => {
    const { container, placeholder } = await pod.start();
    await pod.call('hold', placeholder, true);
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'family']);
    await pod.call('hold', placeholder, true);
    await until('the family', () => container.output().includes('family complete'));
    const tree = await pod.call<ApplicationTree>('tree', pid);
    expect(tree.processes).to.have.length(4);
    expect(tree.processes.filter((process) => process.parentPid === pid)).to.have.length(2);
    await pod.call('killTree', pid);
    for (const process of tree.processes) {
      await until(`the end of ${process.pid}`, async () => (await pod.call('process', process.pid)) === null);
    }
    expect(await pod.call('ping', placeholder)).to.deep.equal({ appPid: 0, hold: true });
  });

  it('may end and be started again in a held container', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'sleep']);
    await pod.call('hold', placeholder, true);
    await pod.call('signal', pid, 'SIGKILL');
    await until('its end', async () => (await pod.call<{ appPid: number }>('ping', placeholder)).appPid === 0);
    await pod.call('startApp', placeholder, ['/app', 'exit', '5']);
    expect((await container.ended).code).to.equal(5);
  });

  it('is not ended by the death of the agent', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'wait']);
    await until('the application', () => container.output().includes('waiting'));
    const outside = pod.hostPid(pid);
    await pod.killAgent();
    process.kill(outside, 'SIGTERM');
    expect((await container.ended).code).to.equal(7);
  });

  it('stays stopped where it had stopped a process itself', async () => {
    const { container, placeholder } = await pod.start();
    const pid = await pod.call<number>('startApp', placeholder, ['/app', 'family']);
    await until('the family', () => container.output().includes('family complete'));
    const { processes } = await pod.call<ApplicationTree>('tree', pid);
    const last = processes.at(-1)?.pid ?? 0;
    await pod.call('signal', last, 'SIGSTOP');
    await until('its stop', async () => (await pod.call<Process>('process', last)).state === 'T');
    expect((await pod.call<Process[]>('alreadyStopped', pid)).map((process) => process.pid)).to.deep.equal([last]);
    const stopped = await pod.call<Process[]>('stopTree', pid);
    expect(stopped).to.have.length(processes.length - 1);
    await pod.call('continueTree', stopped);
    await until('the others', async () => (await pod.call<Process>('process', pid)).state === 'S');
    expect((await pod.call<Process>('process', last)).state).to.equal('T');
  });

  it('shows its environment to the agent', async () => {
    const { placeholder } = await pod.start({ env: ['A=1', 'B=x=y'] });
    expect(await pod.call('readEnvironment', placeholder.pid)).to.include({ A: '1', B: 'x=y' });
  });
});

describe('a container without its application', function () {
  this.timeout(30_000);
  let programs: Programs;
  let pod: Pod;

  before(function () {
    if (missingForPods() !== undefined) this.skip();
    programs = buildPrograms();
  });
  after(() => removePrograms(programs));
  beforeEach(async () => {
    pod = await Pod.create(programs);
  });
  afterEach(async () => pod.remove());

  for (const held of [false, true]) {
    it(`ends at once on SIGTERM (held: ${held})`, async () => {
      const { container, placeholder } = await pod.start();
      await pod.call('hold', placeholder, held);
      process.kill(pod.hostPid(placeholder.pid), 'SIGTERM');
      expect((await container.ended).code).to.equal(143);
    });
  }

  it("ends on whatever stop signal the runtime sends, and not on one of the pod's own", async () => {
    const { container, placeholder } = await pod.start();
    await pod.call('signal', placeholder.pid, 'SIGUSR1');
    expect(await pod.call('ping', placeholder)).to.deep.equal({ appPid: 0, hold: false });
    process.kill(pod.hostPid(placeholder.pid), 'SIGUSR1');
    expect((await container.ended).code).to.equal(128 + 10);
  });

  it('gives nothing to other users of the pod', async () => {
    const { placeholder } = await pod.start();
    const files = ['fd/3', 'fd/4', 'fd/5', 'fd/6', 'fd/7', 'fd/8', 'mem', 'environ'].map(
      (file) => `/proc/${placeholder.pid}/${file}`,
    );
    const users = [
      { uid: 1000, capabilities: [] },
      { uid: 0, capabilities: defaultCapabilities },
    ];
    for (const user of users) {
      const probe = pod.run(['/app', 'open', ...files, '/.podferry/bin/sleep', '/proc/sys/kernel/ns_last_pid'], user);
      await probe.ended;
      const lines = probe.output().trim().split('\n');
      expect(lines, probe.output()).to.have.length(files.length + 2);
      for (const line of lines) expect(line).to.match(/Permission denied|Read-only file system|Text file busy/);
    }
  });

  it('is unreachable once it has ended', async () => {
    const { container, placeholder } = await pod.start();
    process.kill(pod.hostPid(placeholder.pid), 'SIGKILL');
    await container.ended;
    const error = await failureOf(pod.call('ping', placeholder));
    expect(error).to.include({ code: 'PLACEHOLDER_UNREACHABLE' });
    expect(await pod.call('findPlaceholder', pod.binary)).to.equal(null);
  });

  it('does not hold the agent up while it does not answer', async () => {
    const { placeholder } = await pod.start();
    await pod.call('signal', placeholder.pid, 'SIGSTOP');
    const error = await failureOf(pod.call('pingWithin', placeholder, 200));
    expect(error).to.include({ code: 'DEADLINE_EXCEEDED' });
  });

  it('is ready by its startup probe while the agent says so, for this placeholder only', async () => {
    const { placeholder } = await pod.start();
    const runDir = join(pod.dir, 'shared/run');
    const probe = async (): Promise<number | null> =>
      (await pod.run(['/.podferry/bin/sleep', 'ready', 'app'], { uid: 1000 }).ended).code;
    expect(await probe()).to.equal(1);
    await pod.call('markReady', placeholder, runDir);
    expect(await probe()).to.equal(0);
    await pod.call('markReady', { pid: placeholder.pid, startTime: '1' }, runDir);
    expect(await probe()).to.equal(1);
    await pod.call('markReady', placeholder, runDir);
    await pod.call('clearReady', runDir);
    expect(await probe()).to.equal(1);
  });
});

/** Without what differs between any two processes: pids, times, counters, the container's own cgroup. */
function comparable(output: string): string {
  return output
    .split('\n')
    .filter(
      (line) =>
        !/^(Pid|PPid|Tgid|NStgid|NSpid|NSpgid|NSsid|SigQ|Vm\w+|Rss\w+|\w*ctxt_switches|Hugetlb\w*|Ngid|FDSize|Cpus_\w+):?\s/.test(
          line,
        ),
    )
    .map((line) => line.replace(/podferry-test-\d+-\d+-\d+/, 'container').replace(/(pipe|socket):\[\d+\]/, '$1'))
    .map((line) => line.replace(/^(fd 3) .*/, '$1')) // the listing's own
    .join('\n');
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
