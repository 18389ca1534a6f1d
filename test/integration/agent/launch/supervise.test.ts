import { mkdirSync, readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Placeholder } from '../../../../agent/launch/placeholder.ts';
import type { Process } from '../../../../agent/launch/proc-stat.ts';
import type { Outcome } from '../../../../agent/launch/run-program.ts';
import { agentRootDir, buildPrograms, missingForPods, removePrograms, type Programs } from './support/fixtures.ts';
import { preload } from './support/preload.ts';
import { CallError, Pod, until, type Container, type ContainerSpec } from './support/pod.ts';

const spec: ContainerSpec = { uid: 1000, seccomp: true };
const rootPid = 10_000;

describe('a supervised restore', function () {
  this.timeout(30_000);
  let programs: Programs;
  let pod: Pod;
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
    pod = await Pod.create(programs, agentRoot);
  });
  afterEach(async () => pod.remove());

  /** Dumps a waiting application of one pod and restores it, stopped, in another. */
  async function move(source: Pod): Promise<{ readonly container: Container; readonly placeholder: Placeholder }> {
    const images = join(pod.dir, 'images');
    mkdirSync(images);
    const from = await source.start(spec);
    await source.call('startApp', from.placeholder, ['/app', 'wait']);
    await until('the application', () => from.container.output().includes('waiting'));
    const outside = `/proc/${source.hostPid(rootPid)}`;
    const before = identity(readFileSync(`${outside}/status`, 'utf8'));
    const pipe = readlinkSync(`${outside}/fd/1`); // the test's containers have one for both outputs
    const inSource = `/proc/${await source.call<number>('pid')}/root${images}`;
    const common = ['--manage-cgroups=ignore', '-v1', '-D'];
    const dump = ['dump', '--tree', String(rootPid), '--leave-stopped', ...common, inSource];
    const dumped = await source.call<Outcome>('criu', from.placeholder.pid, dump, preload(agentRoot, programs));
    expect(dumped, dumped.stderr).to.include({ exitCode: 0 });

    const to = await pod.start(spec);
    const inherit = ['--inherit-fd', `fd[3]:${pipe}`];
    const inTarget = `/proc/${await pod.call<number>('pid')}/root${images}`;
    const restore = ['restore', '--restore-detached', '--leave-stopped', ...common, inTarget, ...inherit];
    const procs = await pod.call<string[]>('cgroupProcsFiles', to.placeholder.pid, join(pod.dir, 'cgroup'));
    expect(procs.length).to.be.greaterThan(0);
    const restored = await pod.call<{ exitCode: number; stderr: string }>(
      'restore',
      to.placeholder,
      rootPid,
      procs,
      restore,
      pod.binary,
      preload(agentRoot, programs),
    );
    expect(restored, restored.stderr).to.include({ exitCode: 0 });
    expect(await pod.call('ping', to.placeholder)).to.deep.equal({ appPid: rootPid, hold: false });
    expect((await pod.call<Process>('process', rootPid)).state).to.equal('T');
    const container = await pod.call<string>('cgroupOf', to.placeholder.pid);
    expect(await pod.call('cgroupOf', rootPid)).to.equal(container);
    expect(await pod.call('cgroupOf', (await pod.call<Process>('process', rootPid)).parentPid)).to.equal(container);
    expect(identity(readFileSync(`/proc/${pod.hostPid(rootPid)}/status`, 'utf8'))).to.equal(before);
    return to;
  }

  async function moveFromAnotherPod(): ReturnType<typeof move> {
    const source = await Pod.create(programs, agentRoot);
    try {
      return await move(source);
    } finally {
      await source.remove();
    }
  }

  it("continues in the target container, writes to its output, and ends it with the application's code", async () => {
    const { container, placeholder } = await moveFromAnotherPod();
    await pod.call('signal', rootPid, 'SIGCONT');
    process.kill(pod.hostPid(placeholder.pid), 'SIGTERM');
    expect((await container.ended).code).to.equal(7);
    expect(container.output()).to.include('got 15');
  });

  it('ends its container with 137 when it is killed', async () => {
    const { container } = await moveFromAnotherPod();
    await pod.call('signal', rootPid, 'SIGKILL');
    expect((await container.ended).code).to.equal(137);
  });

  it('ends, held, without ending its container', async () => {
    const { placeholder } = await moveFromAnotherPod();
    await pod.call('hold', placeholder, true);
    await pod.call('killTree', rootPid);
    const state = await until('the report', async () => {
      const answer = await pod.call<{ appPid: number; hold: boolean }>('ping', placeholder);
      return answer.appPid === 0 ? answer : undefined;
    });
    expect(state).to.deep.equal({ appPid: 0, hold: true });
  });

  it('loses neither its life nor its exit code to the death of the agent', async () => {
    const { container } = await moveFromAnotherPod();
    const outside = pod.hostPid(rootPid);
    await pod.killAgent();
    process.kill(outside, 'SIGCONT');
    process.kill(outside, 'SIGTERM');
    expect((await container.ended).code).to.equal(7);
  });

  it('tells its exit code through the kernel when the supervisor is dead (Linux >= 6.15), else 255', async () => {
    const { container } = await moveFromAnotherPod();
    const { parentPid } = await pod.call<Process>('process', rootPid);
    await pod.call('signal', parentPid, 'SIGKILL');
    await pod.call('signal', rootPid, 'SIGCONT');
    await pod.call('signal', rootPid, 'SIGTERM');
    const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
    const isKnown = major > 6 || (major === 6 && minor >= 15);
    expect((await container.ended).code).to.equal(isKnown ? 7 : 255);
  });

  it("gives back the command's exit code and leaves nothing of it when it fails", async () => {
    const { placeholder } = await pod.start();
    const before = processCount(pod);
    // A command that fails after its child has left it, as a restore that breaks off.
    const args = ['-c', 'sleep 1000 & setsid sleep 1000 & exit 3'];
    const result = await supervise(placeholder, rootPid, [], '/bin/sh', args);
    expect(result).to.include({ exitCode: 3 });
    expect(processCount(pod)).to.equal(before);
    expect(await pod.call('ping', placeholder)).to.deep.equal({ appPid: 0, hold: false });
  });

  it('is given up at its deadline, and leaves nothing', async () => {
    const { placeholder } = await pod.start();
    const before = processCount(pod);
    const error = await failureOf(supervise(placeholder, rootPid, [], '/bin/sh', ['-c', 'sleep 1000 & sleep 1000']));
    expect(error.code).to.equal('DEADLINE_EXCEEDED');
    expect(processCount(pod)).to.equal(before);
  });

  it('does not begin in a cgroup that cannot be entered', async () => {
    const { placeholder } = await pod.start();
    const error = await failureOf(
      supervise(placeholder, rootPid, ['/sys/fs/cgroup/none/cgroup.procs'], '/bin/true', []),
    );
    expect(error).to.include({ code: 'CGROUP_UNREACHABLE' });
    expect(error.detail).to.include({ errno: 'ENOENT' });
  });

  it('does not begin, and kills nobody, when the pid is taken', async () => {
    const { placeholder } = await pod.start();
    const taken = await pod.call<number>('pid');
    const error = await failureOf(supervise(placeholder, taken, [], '/bin/true', []));
    expect(error.code).to.equal('PID_IN_USE');
    expect(await pod.call('pid')).to.equal(taken);
  });

  it('is refused when the placeholder has ended', async () => {
    const { container, placeholder } = await pod.start();
    process.kill(pod.hostPid(placeholder.pid), 'SIGKILL');
    await container.ended;
    const error = await failureOf(supervise(placeholder, rootPid, [], '/bin/true', []));
    expect(error.code).to.equal('PLACEHOLDER_UNREACHABLE');
  });

  async function supervise(
    placeholder: Placeholder,
    root: number,
    procs: readonly string[],
    file: string,
    args: readonly string[],
  ): Promise<unknown> {
    return pod.call('supervise', placeholder, root, procs, file, args, pod.binary);
  }
});

/** Who a process is, of /proc/PID/status. */
function identity(status: string): string {
  const fields = /^(Name|Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp\w*|Sig(Blk|Ign|Cgt)|NSpid|Threads):.*$/gm;
  return (status.match(fields) ?? []).join('\n').replace(/^NSpid:.*\t/m, 'NSpid: ');
}

function processCount(pod: Pod): number {
  const inside = readlinkSync(`/proc/${pod.hostPid(1)}/ns/pid`);
  const isInside = (name: string): boolean => {
    try {
      return readlinkSync(`/proc/${name}/ns/pid`) === inside;
    } catch {
      return false; // ended, or of another sandbox
    }
  };
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isInside(name)).length;
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
