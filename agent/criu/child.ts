import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError, type ErrorCode } from '../../proto/errors.ts';
import type { CriuRun } from './command.ts';

const keptLines = 40;
const keptErrors = 5;
const stderrGraceMs = 500;

export interface ChildEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last lines of its standard error. */
  readonly stderr: readonly string[];
}

/** A running child. `ended` resolves when it is reaped, and never rejects. */
export interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<ChildEnd>;
}

/**
 * Starts a child with its standard error kept.
 * @param extra what its fds 3, 4, ... are
 * @throws PodferryError with `code` when it cannot be executed
 */
export async function startChild(run: CriuRun, extra: readonly ('pipe' | number)[], code: ErrorCode): Promise<Child> {
  const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', ...extra];
  const child = spawn(run.file, run.args, { stdio, env: run.env });
  const lines: string[] = [];
  const heard = new Promise<void>((resolve) => {
    if (child.stderr === null) return resolve();
    const reader = createInterface({ input: child.stderr });
    reader.on('line', (line) => {
      lines.push(line);
      if (lines.length > keptLines) lines.shift();
    });
    reader.once('close', resolve);
  });
  const ended = new Promise<ChildEnd>((resolve) => {
    // Not 'close': it also waits for the extra pipes, and one of them may have been taken over (socket-reader.ts).
    child.once('exit', (exitCode, signal) => {
      void Promise.race([heard, delay(stderrGraceMs)]).then(() => resolve({ exitCode, signal, stderr: lines }));
    });
  });
  try {
    await once(child, 'spawn');
  } catch (error) {
    throw new PodferryError(code, `cannot execute ${run.file}`, { file: run.file }, { cause: error });
  }
  return { process: child, ended };
}

/** Waits for the end; after `graceMs` the child is killed. Never rejects. */
export async function endWithin(child: Child, graceMs: number): Promise<ChildEnd> {
  const timer = setTimeout(() => child.process.kill('SIGKILL'), graceMs);
  try {
    return await child.ended;
  } finally {
    clearTimeout(timer);
  }
}

/** How a child ended, for messages. */
export const describeEnd = (end: ChildEnd): string =>
  end.signal === null ? `exited with ${end.exitCode}` : `was ended by ${end.signal}`;

/**
 * CRIU's own first complaints: of its log file, else of its standard error. Empty when it said nothing.
 * The first ones name the cause; what follows is CRIU giving up.
 */
export async function criuErrors(logFile: string, stderr: readonly string[] = []): Promise<string> {
  let log: string;
  try {
    log = await readFile(logFile, 'utf8');
  } catch {
    // It failed before it opened its log.
    log = '';
  }
  const errors = [...log.split('\n'), ...stderr].filter((line) => line.includes('Error ('));
  const picked = errors.length > 0 ? errors.slice(0, keptErrors) : stderr.slice(-keptErrors);
  return picked.map((line) => line.replace(/^\(\d+\.\d+\)\s*/, '').trim()).join('; ');
}
