import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { agentEnv } from '../../proto/names.ts';
import { agentConfig, appConfig } from './containers.ts';
import { childrenOf, hasEnded, identify, killGroup, processesOf, signal, type Found, type Known } from './processes.ts';
import type { Ground } from './ground.ts';

export interface PodOptions {
  readonly name: string;
  readonly uid: string;
  /** uid of the Migration it is the target of. */
  readonly restoreFor: string | undefined;
  readonly command: readonly string[];
  readonly hub: { readonly address: string; readonly ca: string; readonly serverName: string };
}

const startMs = 15_000;
const pollMs = 5;

/** Polls until there is a value. @throws Error after the time */
export async function until<T>(what: string, probe: () => T | undefined, withinMs = startMs): Promise<T> {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const value = probe();
    if (value !== undefined) return value;
    if (performance.now() > endsAt) throw new Error(`waited ${withinMs} ms in vain for ${what}`);
    await delay(pollMs);
  }
}

/**
 * A pod without Kubernetes: namespaces held by a pause process, the application's container and the agent's in them, both made by a
 * real container runtime. A container that ends is started again, as a kubelet would.
 */
export class Pod {
  /** What the application has said, with the count of its container's starts. */
  readonly lines: string[] = [];
  readonly agentLog: string[] = [];
  appStarts = 0;
  agentStarts = 0;
  #isRemoved = false;
  readonly #containers: Promise<void>[] = [];

  private constructor(
    private readonly ground: Ground,
    readonly options: PodOptions,
    private readonly pause: ChildProcess,
    private readonly pausePid: number,
  ) {}

  static async create(ground: Ground, options: PodOptions): Promise<Pod> {
    const dir = join(ground.dir, options.name);
    for (const part of ['root', 'shared/run', 'work', 'token']) mkdirSync(join(dir, part), { recursive: true });
    cpSync(ground.witness, join(dir, 'root/witness'));
    cpSync(ground.placeholder, join(dir, 'pause')); // another inode: never taken for the placeholder
    writeFileSync(join(dir, 'token/token'), options.uid);
    const installed = spawn(ground.placeholder, ['install', join(dir, 'shared/bin/sleep')], { stdio: 'inherit' });
    const untilWeEnd = ['--pdeathsig', 'KILL', '--', 'unshare'];
    const namespaces = ['--pid', '--ipc', '--uts', '--mount-proc', '--fork', '--kill-child'];
    const pause = spawn('setpriv', [...untilWeEnd, ...namespaces, join(dir, 'pause'), 'infinity'], {
      stdio: 'ignore',
      detached: true, // an interrupt is for us: we end the pods
    });
    await once(installed, 'exit');
    const pausePid = await until('the pause process', () => {
      return childrenOf(pause.pid ?? 0).find((pid) => processOfPause(pid));
    });
    const pod = new Pod(ground, options, pause, pausePid);
    pod.#containers.push(pod.#keep('app'), pod.#keep('agent'));
    return pod;
  }

  get dir(): string {
    return join(this.ground.dir, this.options.name);
  }

  /** Processes of the pod's containers whose command line fits, oldest first. */
  find(fits: (words: readonly string[]) => boolean): Found[] {
    const groups = [this.#group('app', this.appStarts), this.#group('agent', this.agentStarts)];
    return groups.flatMap((group) => processesOf(group)).filter(({ words }) => fits(words));
  }

  /** The application's processes, root first; they show their own name also while CRIU still builds them. */
  witnesses(): Found[] {
    return this.find(([program]) => program === '/witness');
  }

  /** The agent's own process; undefined while it is not there. */
  agent(): Known | undefined {
    return this.find((words) => words[1] === '/app/agent.mjs')[0];
  }

  /** Ends everything of it, and what it has left behind. */
  async remove(): Promise<void> {
    this.#isRemoved = true;
    const ended = this.pause.exitCode === null && this.pause.signalCode === null ? once(this.pause, 'exit') : undefined;
    const pause = identify(this.pausePid);
    if (pause !== undefined) signal(pause, 'SIGKILL'); // process 1: all others of the pod die with it
    await ended;
    await Promise.all(this.#containers);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Runs a container again and again until the pod is removed. */
  async #keep(kind: 'app' | 'agent'): Promise<void> {
    while (!this.#isRemoved && !hasEnded(this.pausePid)) {
      const starts = kind === 'app' ? (this.appStarts += 1) : (this.agentStarts += 1);
      await this.#run(kind, this.#group(kind, starts));
    }
  }

  async #run(kind: 'app' | 'agent', id: string): Promise<void> {
    const bundle = join(this.dir, id);
    mkdirSync(bundle, { recursive: true });
    const place = { dir: this.dir, id, pausePid: this.pausePid, root: this.ground.agentRoot, app: this.ground.bundles };
    const config = kind === 'app' ? appConfig(place) : agentConfig(place, this.#environment());
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
    // crun 1.8 refuses a machine that mounts both cgroup versions. Output through a pipe, as a runtime's; node would give a socket.
    const script =
      'umount /sys/fs/cgroup/unified 2>/dev/null; crun --root "$1" --cgroup-manager=cgroupfs run --bundle "$2" "$3" 2>&1 | cat';
    const words = ['bash', '-c', script, 'bash', join(this.ground.dir, 'crun'), bundle, id];
    const child = spawn('unshare', ['--mount', '--propagation', 'private', ...words], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    const sink = kind === 'app' ? this.lines : this.agentLog;
    createInterface({ input: child.stdout }).on('line', (line) => sink.push(line));
    await new Promise((resolve) => child.once('close', resolve));
    await this.#endGroup(id);
  }

  /** As a runtime does in a pod with one pid namespace: with its first process a container loses all others. */
  async #endGroup(id: string): Promise<void> {
    for (let tries = 0; tries < 100 && killGroup(id); tries += 1) await delay(pollMs);
  }

  #group(kind: 'app' | 'agent', starts: number): string {
    return `${this.options.name}-${kind}-${starts}`;
  }

  #environment(): Readonly<Record<string, string>> {
    const { hub, name, restoreFor, command } = this.options;
    return {
      [agentEnv.operator]: hub.address,
      [agentEnv.ca]: hub.ca,
      [agentEnv.serverName]: hub.serverName,
      [agentEnv.original]: JSON.stringify({ container: 'app', command }),
      [agentEnv.podName]: name,
      [agentEnv.podNamespace]: 'default',
      GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1',
      ...(restoreFor === undefined ? {} : { [agentEnv.restore]: restoreFor }),
      ...(this.ground.preload === undefined ? {} : { PODFERRY_CRIU_PRELOAD: this.ground.preload }),
    };
  }
}

function processOfPause(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('pause');
  } catch {
    return false; // it has ended
  }
}
