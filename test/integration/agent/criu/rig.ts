import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PodferryError } from '../../../../proto/errors.ts';
import type { RestoreOptions } from '../../../../agent/checkpoint/restore.ts';
import type { RunRestore } from '../../../../agent/checkpoint/restore-tree.ts';
import type { TakeOptions } from '../../../../agent/checkpoint/take-options.ts';
import { startChild } from '../../../../agent/criu/child.ts';
import type { Criu } from '../../../../agent/criu/command.ts';
import { createS3Store } from '../../../../agent/store/s3.ts';
import type { Store } from '../../../../agent/store/store.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const cache = process.env['PODFERRY_CACHE'] ?? join(homedir(), '.cache/podferry');
const agentRoot = process.env['PODFERRY_AGENT_ROOT'] ?? join(cache, 'dev-agent-root');

/** Why checkpoints cannot be tried on this machine, or undefined when they can. */
export function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(join(agentRoot, 'usr/sbin/criu'))) return `needs an agent root at ${agentRoot} (PODFERRY_AGENT_ROOT)`;
  if (!existsSync('/usr/bin/musl-gcc') || !existsSync(cc)) return 'needs gcc and musl-gcc';
  return undefined;
}

/** Kernel and container runtimes normally have it; without it, processes of other users cannot be dumped. */
async function hasSysResource(): Promise<boolean> {
  const status = await readFile('/proc/self/status', 'latin1');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> 24n) & 1n) === 1n;
}

const shimSource = fileURLToPath(new URL('../../../../hack/testbed/agent-shim/shim.c', import.meta.url));
const cc = '/usr/bin/gcc';

/** Why processes of other users cannot be dumped here, or undefined when they can: as they are, or with the test bed's shim. */
export async function whyNotOtherUsers(): Promise<string | undefined> {
  if (await hasSysResource()) return undefined;
  return existsSync(cc) ? undefined : 'CAP_SYS_RESOURCE is missing, and gcc to build the shim';
}

const imageSources = ['criu-tmp.c', 'criu-undo.c'].map((name) =>
  fileURLToPath(new URL(`../../../../agent/image/${name}`, import.meta.url)),
);
const undoHeaders = fileURLToPath(new URL('../../../../agent/launch/placeholder/', import.meta.url));

/** Builds a library to be preloaded. @returns its path */
export async function buildLibrary(dir: string, source: string): Promise<string> {
  const path = join(dir, `${basename(source, '.c')}.so`);
  await promisify(execFile)(cc, ['-shared', '-fPIC', '-O2', '-I', undoHeaders, '-o', path, source]);
  return path;
}

/**
 * What is loaded into CRIU: what the image has, and what makes it work where the capability is missing. One library needs headers of a younger kernel
 * than test machines may have: it is the image's.
 */
async function preloadsFor(dir: string): Promise<string[]> {
  const sources = [...imageSources, ...((await hasSysResource()) ? [] : [shimSource])];
  const built = await Promise.all(sources.map((source) => buildLibrary(dir, source)));
  return [join(agentRoot, 'usr/lib/podferry/criu-leave.so'), ...built];
}

const buildPlaceholder = fileURLToPath(new URL('../../../../agent/launch/placeholder/build.sh', import.meta.url));
let placeholder: string | undefined;

/** Our program as the image has it; built once, from what it is now. */
function placeholderBuilt(): string {
  if (placeholder !== undefined) return placeholder;
  const dir = mkdtempSync(join(tmpdir(), 'podferry-placeholder-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  execFileSync(buildPlaceholder, [join(dir, 'placeholder')]);
  placeholder = join(dir, 'placeholder');
  return placeholder;
}

const noPlugins = 'no-plugins';

/** A folder on tmpfs for one test, with everything the test makes. */
export class Rig {
  readonly #ends: (() => Promise<void> | void)[] = [];

  readonly criu: Criu;

  private constructor(
    readonly dir: string,
    readonly preloads: readonly string[],
    readonly placeholder: string,
  ) {
    this.criu = this.criuWith(preloads, {});
  }

  static async make(): Promise<Rig> {
    const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'podferry-test-'));
    await mkdir(join(dir, noPlugins));
    return new Rig(dir, await preloadsFor(dir), placeholderBuilt());
  }

  /** CRIU with other libraries loaded into it, and told something. */
  criuWith(preloads: readonly string[], env: Readonly<Record<string, string>>): Criu {
    const command: Criu['command'] = (args) => ({
      file: join(agentRoot, 'lib64/ld-linux-x86-64.so.2'),
      args: [
        ...['--preload', preloads.join(' ')],
        ...['--library-path', join(agentRoot, 'usr/lib/x86_64-linux-gnu'), join(agentRoot, 'usr/sbin/criu')],
        ...args,
        ...(args[0] === '--version' ? [] : ['--no-default-config', '--libdir', join(this.dir, noPlugins)]),
      ],
      env: { PATH: '/proc/none', PODFERRY_CRIU_CACHE: join(this.dir, 'criu.kdat'), ...env },
    });
    return { command, pathFor: (path) => path };
  }

  /** Undoes everything, newest first. */
  async close(): Promise<void> {
    for (const end of this.#ends.toReversed()) await end();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Something to be undone at the end. */
  onClose(end: () => Promise<void> | void): void {
    this.#ends.push(end);
  }

  /** Like a container: a first process whose output is a pipe that somebody outside reads. */
  async container(name: string): Promise<Container> {
    const out = join(this.dir, `${name}.out`);
    const pidFile = join(this.dir, `${name}.pid`);
    const script = `sh -c 'echo $$ > ${pidFile}; exec sleep 1000000' 2>&1 | exec cat >> ${out}`;
    const shell = spawn('sh', ['-c', script], { stdio: 'ignore', detached: true });
    const pid = Number(
      await until('the container', () => readOr(pidFile, '').then((text) => text.trim() || undefined)),
    );
    const container = new Container(pid, out);
    this.onClose(async () => {
      kill(pid);
      await once(shell, 'exit');
    });
    return container;
  }

  /** Starts a program as the launcher does: in a session of its own, with the container's output. */
  async start(container: Container, argv: readonly string[]): Promise<number> {
    const output = await open(`/proc/${container.pid}/fd/1`, 'w');
    const [file = '', ...args] = argv;
    const app = spawn(file, args, { stdio: ['ignore', output.fd, output.fd], detached: true, cwd: '/' });
    await once(app, 'spawn');
    await output.close();
    const pid = app.pid ?? 0;
    this.onClose(() => killTree(pid));
    return pid;
  }

  /** What a checkpoint of one of its processes is taken with, but for where it goes. */
  taking(container: Container, rootPid: number) {
    return {
      criu: this.criu,
      id: randomUUID(),
      generation: 0,
      facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
      rootPid,
      stdioPid: container.pid,
      stoppedBefore: [],
      workDir: join(this.dir, 'take'),
      binary: this.placeholder,
      deadlineMs: 60_000,
    } satisfies Partial<TakeOptions>;
  }

  /** What a checkpoint is restored with, but for which. */
  restoring(target: Container) {
    return {
      criu: this.criu,
      runRestore: this.runRestore,
      binary: this.placeholder,
      firstInheritedFd: 3,
      stdioPid: target.pid,
      workDir: join(this.dir, 'restore'),
      deadlineMs: 60_000,
    } satisfies Partial<RestoreOptions>;
  }

  /** As the launcher's, without cgroups and supervisor. */
  readonly runRestore: RunRestore = async ({ args, fds }) => {
    const child = await startChild(this.criu.command(args), fds, 'CRIU_RESTORE_FAILED');
    const end = await child.ended;
    if (end.exitCode === 0) return;
    throw new PodferryError('CRIU_RESTORE_FAILED', `criu restore exited with ${end.exitCode}`);
  };
}

export class Container {
  constructor(
    readonly pid: number,
    readonly out: string,
  ) {}

  async lines(): Promise<string[]> {
    return (await readOr(this.out, '')).split('\n').slice(0, -1);
  }
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ESRCH') {
      return otherwise;
    }
    throw error;
  }
}

/** Polls until there is a value. */
export async function until<T>(what: string, probe: () => Promise<T | undefined>, withinMs = 20_000): Promise<T> {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > endsAt) throw new Error(`waited ${withinMs} ms in vain for ${what}`);
    await delay(5);
  }
}

export async function statusField(pid: number, field: string): Promise<string | undefined> {
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(await readOr(`/proc/${pid}/status`, ''))?.[1];
}

/** Root first. */
export async function treeOf(root: number): Promise<number[]> {
  const children = (await readOr(`/proc/${root}/task/${root}/children`, '')).split(' ').filter((word) => word !== '');
  const below = await Promise.all(children.map((child) => treeOf(Number(child))));
  return [root, ...below.flat()];
}

function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Kills a tree and waits until its numbers are free again. */
export async function killTree(root: number): Promise<void> {
  const pids = await treeOf(root);
  for (const pid of pids) kill(pid);
  for (const pid of pids) {
    await until(`the end of ${pid}`, () => Promise.resolve(existsSync(`/proc/${pid}`) ? undefined : true));
  }
}

export const continueAll = (pids: readonly number[]): void => pids.forEach((pid) => kill(pid, 'SIGCONT'));

const bytesOfBlock = 512;

/** What the files in a directory take, which is less than their length where nothing was ever written. */
export async function bytesIn(dir: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(dir)) {
    bytes += (statSync(join(dir, name), { throwIfNoEntry: false })?.blocks ?? 0) * bytesOfBlock;
  }
  return bytes;
}

/** The S3 bucket of PODFERRY_S3_*, else one in memory. */
export function storeForTests(): { store: Store; isReal: boolean; close: () => void } {
  const endpoint = process.env['PODFERRY_S3_ENDPOINT'];
  if (endpoint === undefined) return { store: new MemoryStore(), isReal: false, close: () => undefined };
  const store = createS3Store({
    endpoint,
    region: process.env['PODFERRY_S3_REGION'] ?? 'us-east-1',
    bucket: process.env['PODFERRY_S3_BUCKET'] ?? 'podferry',
    accessKeyId: process.env['PODFERRY_S3_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: process.env['PODFERRY_S3_SECRET_ACCESS_KEY'] ?? '',
    forcePathStyle: true,
  });
  return { store, isReal: true, close: () => store.close() };
}
