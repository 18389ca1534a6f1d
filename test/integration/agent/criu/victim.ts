import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { restoreCheckpoint } from '../../../../agent/checkpoint/restore.ts';
import { takeCheckpoint } from '../../../../agent/checkpoint/take.ts';
import { startLazyDump } from '../../../../agent/criu/dump.ts';
import { undoDump } from '../../../../agent/criu/undo.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { buildLibrary, continueAll, killTree, statusField, treeOf, until, type Container, type Rig } from './rig.ts';

const pathOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** What steady.c can be, and how many of its threads count. */
export const shapes = { sleep: 1, poll: 1, threads: 4, tree: 3 } as const;
export type Shape = keyof typeof shapes;

/** When die.c kills CRIU, seen from one of its calls. */
export const moments = ['before', 'after', 'later'] as const;
export type Moment = (typeof moments)[number];

/** What became of a dump: `whole` when it had fewer calls. */
export type Strike = 'killed' | 'whole';

/** What a sweep needs once. */
export interface Tools {
  readonly program: string;
  readonly killer: string;
}

export async function buildTools(rig: Rig): Promise<Tools> {
  const program = join(rig.dir, 'steady');
  await promisify(execFile)('/usr/bin/gcc', ['-O1', '-pthread', '-o', program, pathOf('steady.c')]);
  return { program, killer: await buildLibrary(rig.dir, pathOf('die.c')) };
}

/** A program that notices when it is disturbed, and whose CRIU can be killed at any of its calls. Every method throws when it was disturbed. */
export class Victim {
  #container: Container;
  #pids: readonly number[] = [];

  private constructor(
    readonly rig: Rig,
    readonly shape: Shape,
    readonly tools: Tools,
    container: Container,
  ) {
    this.#container = container;
  }

  static async start(rig: Rig, tools: Tools, shape: Shape): Promise<Victim> {
    const container = await rig.container(`steady-${randomUUID()}`);
    const victim = new Victim(rig, shape, tools, container);
    await rm(victim.#beatsFile, { force: true });
    const pid = await rig.start(container, [tools.program, shape, victim.#beatsFile]);
    await until('the first beats', () =>
      Promise.resolve(existsSync(victim.#beatsFile) && victim.#beats().every((n) => n > 0n) ? true : undefined),
    );
    victim.#pids = await treeOf(pid);
    return victim;
  }

  get #beatsFile(): string {
    return join(this.rig.dir, `${this.shape}.beats`);
  }

  #beats(): bigint[] {
    const bytes = readFileSync(this.#beatsFile);
    if (bytes.byteLength < 8 * shapes[this.shape]) return [0n];
    return Array.from({ length: shapes[this.shape] }, (_, slot) => bytes.readBigUInt64LE(8 * slot));
  }

  /** Continues it, and waits until every thread has gone on. */
  async #goOn(): Promise<void> {
    const before = this.#beats();
    continueAll(this.#pids.toReversed());
    await until(`beats of ${this.shape}`, async () => {
      const [said] = await this.#container.lines();
      if (said !== undefined) throw new Error(said);
      for (const pid of this.#pids) if (!existsSync(`/proc/${pid}/exe`)) throw new Error(`process ${pid} has ended`);
      return this.#beats().every((n, slot) => n > (before[slot] ?? 0n) + 1n) ? true : undefined;
    });
  }

  /** How many calls a whole dump makes that CRIU can be killed at. */
  async calls(): Promise<number> {
    const file = join(this.rig.dir, 'calls');
    await this.#dump({ DIE_COUNT: file });
    await this.#goOn();
    return Number(readFileSync(file, 'latin1'));
  }

  /** Has CRIU killed at a call of a dump, and the program go on. */
  async strike(call: number, moment: Moment): Promise<Strike> {
    const strike = await this.#dump({ DIE_AT: String(call), DIE_WHEN: moment });
    for (const pid of this.#pids) {
      const left = await leftoversOf(pid);
      if (left.length > 0) throw new Error(`left in ${pid}: ${left.join(', ')}`);
    }
    await this.#goOn();
    return strike;
  }

  /** Dumps as a checkpoint does, and leaves the processes stopped or, if CRIU was killed before it touched them, as they are. */
  async #dump(env: Readonly<Record<string, string>>): Promise<Strike> {
    const imagesDir = join(this.rig.dir, 'images');
    await rm(imagesDir, { recursive: true, force: true });
    await mkdir(imagesDir);
    const criu = this.rig.criuWith([...this.rig.preloads, this.tools.killer], env);
    const pid = this.#pids[0] ?? 0;
    const dump = await startLazyDump({ criu, pid, imagesDir, stopSeconds: 10, binary: this.rig.placeholder });
    try {
      await dump.ready;
      dump.release();
      await dump.done;
      return 'whole';
    } catch (error) {
      if (!(error instanceof PodferryError) || !error.message.endsWith('its processes are as they were before'))
        throw error;
      // As an agent does that was started again: nothing is left to do.
      await undoDump(imagesDir, this.rig.placeholder);
      return 'killed';
    } finally {
      await dump.abort();
    }
  }

  /** Takes a checkpoint, kills the program, restores it, and has it go on. */
  async move(): Promise<void> {
    const store = new MemoryStore();
    const sealing = sealingFor('one');
    const taking = this.rig.taking(this.#container, this.#pids[0] ?? 0);
    const { ref } = await takeCheckpoint({ ...taking, store, keyPrefix: 'test/default/steady/one/', sealing });
    await killTree(this.#pids[0] ?? 0);
    this.#container = await this.rig.container(`steady-${randomUUID()}`);
    const tree = await restoreCheckpoint({ ...this.rig.restoring(this.#container), store, ref, sealing });
    this.rig.onClose(() => killTree(tree.rootPid));
    await this.#goOn();
    await tree.drained;
  }

  async end(): Promise<void> {
    await killTree(this.#pids[0] ?? 0);
  }
}

/** What of CRIU's is in a process: memory, open files, a tracer. */
async function leftoversOf(pid: number): Promise<string[]> {
  const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  const links = (await readdir(`/proc/${pid}/fd`)).map((fd) => fileOf(pid, fd));
  const tracer = await statusField(pid, 'TracerPid');
  return [
    ...maps.filter((line) => line.includes('CRIUMFD')),
    ...(await Promise.all(links)).filter((link) => link.includes('CRIUMFD') || link.includes('dump.log')),
    ...(tracer === '0' ? [] : [`the tracer ${tracer}`]),
  ];
}

/** What a process has open; empty when it has closed it meanwhile, since those that CRIU had not come to run. */
async function fileOf(pid: number, fd: string): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/fd/${fd}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
