import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('target.c', import.meta.url));
const buildScript = fileURLToPath(new URL('../../../../agent/launch/placeholder/build.sh', import.meta.url));

/** Why these tests cannot run here, or undefined when they can. */
export function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  return ['/usr/bin/gcc', '/usr/bin/musl-gcc'].every((file) => existsSync(file)) ? undefined : 'needs gcc and musl-gcc';
}

/** The two programs of these tests. */
export class Programs {
  readonly #dir = mkdtempSync(join(tmpdir(), 'podferry-'));
  readonly placeholder = join(this.#dir, 'placeholder');
  readonly target = join(this.#dir, 'target');

  constructor() {
    execFileSync(buildScript, [this.placeholder]);
    execFileSync('/usr/bin/gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', this.target, source, '-lpthread']);
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true });
  }
}

/** A running target.c. */
export class Target {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly ended: Promise<unknown>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.ended = once(child, 'exit');
  }

  /** @returns the target, and what it said with "up": the number of its first page */
  static async start(program: string, ...argv: string[]): Promise<{ target: Target; page: number }> {
    const target = new Target(spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
    return { target, page: await target.next('up') };
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it says next. */
  async next(word: string): Promise<number> {
    const { value } = await this.#lines.next();
    const [said, number] = String(value).split(' ');
    if (said !== word) throw new Error(`expected "${word}", and not "${String(value)}"`);
    return Number(number);
  }

  /** Tells it to do something, and waits until it has. @returns what it says of it */
  async tell(line: string): Promise<number> {
    this.#child.stdin.write(`${line}\n`);
    return await this.next('done');
  }

  /** The same for `f`: the child's pid, once it has written. */
  async fork(): Promise<number> {
    this.#child.stdin.write('f\n');
    const said = [await this.#lines.next(), await this.#lines.next()].map(({ value }) => String(value));
    return Number(said.find((line) => line.startsWith('child'))?.split(' ')[1]);
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}
