/**
 * A pod without Kubernetes: a pid, IPC and UTS namespace held by a pause process, an application container made by crun, a real
 * container runtime, and the agent's side in the same pid namespace.
 */
import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { hasVanished } from '../../../../../agent/launch/proc-stat.ts';
import type { Placeholder } from '../../../../../agent/launch/placeholder.ts';
import type { Programs } from './fixtures.ts';
import { repository } from './fixtures.ts';

export interface ContainerSpec {
  readonly uid?: number;
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly capabilities?: readonly string[];
  readonly seccomp?: boolean;
  readonly rlimits?: readonly { readonly type: string; readonly hard: number; readonly soft: number }[];
  readonly dataDirs?: readonly string[];
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Container {
  readonly output: () => string;
  readonly ended: Promise<Ended>;
  readonly process: ChildProcess;
}

export class CallError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly detail: Readonly<Record<string, unknown>>,
  ) {
    super(message);
  }
}

const deadlineMs = 8_000;

function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EACCES';
}

/** Waits until `look` gives something else than undefined or false. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
): Promise<Exclude<T, undefined | false | null>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false && seen !== null) return seen as Exclude<T, undefined | false | null>;
    if (performance.now() > end) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export class Pod {
  private static count = 0;
  private readonly waiting = new Map<
    number,
    { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }
  >();
  private calls = 0;
  private readonly started: Container[] = [];

  private constructor(
    readonly dir: string,
    private readonly programs: Programs,
    private readonly pause: ChildProcess,
    private readonly pausePid: number,
    private readonly agentSide: ChildProcessByStdio<Writable, Readable, null>,
    readonly name: string,
  ) {
    createInterface({ input: agentSide.stdout }).on('line', (line) => {
      const { id, result, error } = JSON.parse(line);
      const call = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new CallError(error.code, error.message, error.detail));
    });
    agentSide.once('exit', () => {
      for (const call of this.waiting.values()) call.reject(new Error("the agent's side has ended"));
    });
  }

  /** @param agentRoot the agent's programs, when the test runs any */
  static async create(programs: Programs, agentRoot = ''): Promise<Pod> {
    const dir = mkdtempSync(join(tmpdir(), 'podferry-pod-'));
    for (const part of ['root', 'shared/run', 'volumes', 'crun']) mkdirSync(join(dir, part), { recursive: true });
    copyFileSync(programs.placeholder, join(dir, 'pause')); // another inode: never taken for the placeholder
    const namespaces = ['--pid', '--ipc', '--uts', '--mount-proc', '--fork', '--kill-child'];
    const pause = spawn('unshare', [...namespaces, join(dir, 'pause'), 'infinity'], { stdio: 'ignore' });
    const pausePid = await until('the pause process', () => {
      const children = readFileSync(`/proc/${pause.pid}/task/${pause.pid}/children`, 'utf8').trim();
      if (children === '' || !readFileSync(`/proc/${children}/cmdline`, 'utf8').includes('pause')) return undefined;
      return Number(children);
    });
    const side = join(import.meta.dirname, 'agent-side.ts');
    const inPod = ['--target', String(pausePid), '--pid', '--ipc', '--uts', '--', 'unshare', '--mount-proc', '--'];
    const node = [process.execPath, '--import', 'tsx', side, agentRoot];
    const agentSide = spawn('nsenter', [...inPod, ...node], { cwd: repository, stdio: ['pipe', 'pipe', 'inherit'] });
    const pod = new Pod(dir, programs, pause, pausePid, agentSide, `podferry-test-${process.pid}-${Pod.count++}`);
    await pod.install();
    await pod.call('pid');
    return pod;
  }

  get root(): string {
    return join(this.dir, 'root');
  }

  /** The placeholder on the shared volume, as the agent sees it. */
  get binary(): string {
    return join(this.dir, 'shared/bin/sleep');
  }

  async call<T>(name: string, ...args: readonly unknown[]): Promise<T> {
    const id = ++this.calls;
    const answer = new Promise<unknown>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    this.agentSide.stdin.write(`${JSON.stringify({ id, name, args })}\n`);
    return (await answer) as T;
  }

  /** The pid outside, as the container runtime sees it, of a process inside. */
  hostPid(pid: number): number {
    const namespace = readlinkSync(`/proc/${this.pausePid}/ns/pid`);
    for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      try {
        if (readlinkSync(`/proc/${name}/ns/pid`) !== namespace) continue;
        const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1];
        if (Number(inside) === pid) return Number(name);
      } catch (error) {
        if (!hasVanished(error) && !isDenied(error)) throw error; // of another sandbox
      }
    }
    throw new Error(`no process ${pid} in the pod`);
  }

  /** The agent's container is killed, as by the kernel when it is out of memory. */
  async killAgent(): Promise<void> {
    const pid = await this.call<number>('pid');
    process.kill(this.hostPid(pid), 'SIGKILL');
    await until("the agent's end", () => this.agentSide.exitCode !== null || this.agentSide.signalCode !== null);
  }

  /** Runs a container to its end or until the pod is removed. */
  run(args: readonly string[], spec: ContainerSpec = {}): Container {
    const id = `${this.name}-${this.started.length}`;
    const bundle = join(this.dir, id);
    mkdirSync(bundle);
    cpSync(this.programs.app, join(this.root, 'app'));
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(this.config(id, args, spec)));
    // crun 1.8 refuses a machine that mounts both cgroup versions. Output through a pipe, as a runtime's; Node would give a socket.
    const script =
      'umount /sys/fs/cgroup/unified 2>/dev/null; crun --root "$1" --cgroup-manager=cgroupfs run --bundle "$2" "$3" 2>&1 | cat';
    const child = spawn(
      'unshare',
      [
        '--mount',
        '--propagation',
        'private',
        'bash',
        '-o',
        'pipefail',
        '-c',
        script,
        'bash',
        join(this.dir, 'crun'),
        bundle,
        id,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    const ended = new Promise<Ended>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
    const container = { output: () => output, ended, process: child };
    this.started.push(container);
    return container;
  }

  /** An injected container, with its placeholder up. */
  async start(spec: ContainerSpec = {}): Promise<{ readonly container: Container; readonly placeholder: Placeholder }> {
    const container = this.run(['/.podferry/bin/sleep', 'infinity'], spec);
    let over = false;
    void container.ended.then(() => (over = true));
    const placeholder = await until('the placeholder', async () => {
      if (over) throw new Error(`the container ended: ${container.output()}`);
      const found = await this.call<Placeholder | null>('findPlaceholder', this.binary);
      // crun's own init executes it a moment before its last settings are made; the channel exists after that.
      return found !== null && (await this.answers(found)) ? found : undefined;
    });
    return { container, placeholder };
  }

  async remove(): Promise<void> {
    const ended = new Promise((resolve) => this.pause.once('exit', resolve));
    process.kill(this.pausePid, 'SIGKILL'); // process 1: all others of the pod die with it
    await ended;
    await until(
      "the end of the agent's side",
      () => this.agentSide.exitCode !== null || this.agentSide.signalCode !== null,
    );
    await Promise.all(this.started.map(async (container) => container.ended)); // crun has removed its cgroups
    rmSync(this.dir, { recursive: true });
  }

  private async answers(placeholder: Placeholder): Promise<boolean> {
    try {
      await this.call('ping', placeholder);
      return true;
    } catch (error) {
      if (error instanceof CallError && error.code === 'PLACEHOLDER_UNREACHABLE') return false;
      throw error;
    }
  }

  private async install(): Promise<void> {
    const child = spawn(this.programs.placeholder, ['install', this.binary], { stdio: 'inherit' });
    await new Promise((resolve) => child.once('exit', resolve));
  }

  private config(id: string, args: readonly string[], spec: ContainerSpec): object {
    const capabilities = spec.capabilities ?? [];
    const bind = (source: string, destination: string, ...options: string[]): object => ({
      destination,
      source,
      type: 'bind',
      options: ['rbind', 'rprivate', ...options],
    });
    const tmpfs = (destination: string): object => ({
      destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid'],
    });
    const volumes = (spec.dataDirs ?? []).map((dir) => {
      const source = join(this.dir, 'volumes', dir.replaceAll('/', '_'));
      mkdirSync(source, { recursive: true });
      return bind(source, dir);
    });
    const uid = spec.uid ?? 0;
    return {
      ociVersion: '1.0.0',
      root: { path: this.root },
      process: {
        args,
        cwd: spec.cwd ?? '/',
        env: spec.env ?? ['PATH=/bin:/usr/bin'],
        user: { uid, gid: uid, additionalGids: uid === 0 ? [] : [2000] },
        capabilities: { bounding: capabilities, effective: uid === 0 ? capabilities : [], permitted: capabilities },
        rlimits: spec.rlimits ?? [],
        noNewPrivileges: uid !== 0,
        oomScoreAdj: 500,
      },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        tmpfs('/dev'),
        tmpfs('/dev/shm'),
        { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['ro'] },
        bind(join(this.dir, 'shared'), '/.podferry', 'ro'),
        ...volumes,
      ],
      linux: {
        readonlyPaths: ['/proc/sys'],
        cgroupsPath: `/${id}`,
        resources: { memory: { limit: 64 << 20 }, pids: { limit: 64 } },
        namespaces: [
          { type: 'mount' },
          ...['pid', 'ipc', 'uts'].map((type) => ({ type, path: `/proc/${this.pausePid}/ns/${type}` })),
        ],
        ...(spec.seccomp === true ? { seccomp: seccompProfile } : {}),
      },
    };
  }
}

/** Small, but a filter: its mode and count show in /proc/PID/status. */
const seccompProfile = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64'],
  syscalls: [{ names: ['add_key', 'keyctl'], action: 'SCMP_ACT_ERRNO' }],
};
