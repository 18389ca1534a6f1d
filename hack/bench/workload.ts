import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until, type Container, type Rig } from '../../test/integration/agent/criu/rig.ts';
import { parseCheck, parseGaps, type Check } from './workload-lines.ts';

const source = fileURLToPath(new URL('../programs/workload/workload.c', import.meta.url));
const answerMs = 120_000;

export interface Load {
  readonly mib: number;
  /** Of its pages, changed each second. */
  readonly percentPerSecond: number;
  /** Of its pages, changed by changeOnce(). */
  readonly percentAtOnce?: number;
}

/** A running workload (hack/programs/workload) outside any cluster. */
export class Workload {
  constructor(
    readonly container: Container,
    readonly pid: number,
  ) {}

  /** Builds and starts it, and waits until it holds its memory. */
  static async start(rig: Rig, container: Container, load: Load): Promise<Workload> {
    const program = join(rig.dir, 'workload');
    await promisify(execFile)('gcc', ['-O2', '-pthread', '-o', program, source]);
    const { mib, percentPerSecond, percentAtOnce = 0 } = load;
    const pid = await rig.start(container, [program, ...[mib, percentPerSecond, percentAtOnce].map(String)]);
    const workload = new Workload(container, pid);
    await workload.#line('up ', 0);
    return workload;
  }

  /** Lines so far: a mark for gapsSince. */
  async mark(): Promise<number> {
    return (await this.container.lines()).length;
  }

  /** The longest time since the mark in which it did not run, as it saw it itself; 0: none worth telling. */
  async longestGapMs(since: number): Promise<number> {
    return Math.max(0, ...parseGaps((await this.container.lines()).slice(since)));
  }

  /** Waits until it has noticed that it stood still. */
  async gapAfter(mark: number): Promise<number> {
    await this.#line('gap ', mark);
    return this.longestGapMs(mark);
  }

  /** Has it look at every page. @throws Error when one is not what it should be */
  async check(): Promise<Check> {
    const check = parseCheck(await this.#ask('SIGUSR1', 'check '));
    if (check.bad > 0) throw new Error(`${check.bad} of ${check.pages} pages of pid ${this.pid} are wrong`);
    return check;
  }

  /** Has it change percentAtOnce of its pages. */
  async changeOnce(): Promise<void> {
    await this.#ask('SIGUSR2', 'dirtied ');
  }

  async #ask(signal: NodeJS.Signals, word: string): Promise<string> {
    const mark = await this.mark();
    process.kill(this.pid, signal);
    return this.#line(word, mark);
  }

  async #line(word: string, mark: number): Promise<string> {
    const find = async (): Promise<string | undefined> =>
      (await this.container.lines()).slice(mark).find((line) => line.startsWith(word));
    return until(`"${word}" of pid ${this.pid}`, find, answerMs);
  }
}
