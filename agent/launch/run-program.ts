import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import type { Command } from './app-namespace.ts';

const stderrLines = 40;
const stderrLimitBytes = 64 * 1024;

/** How a program ended; exactly one of `exitCode` and `signal` is set, unless it could not be started at all. */
export interface Outcome {
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  /** The last 40 lines. */
  readonly stderr: string;
  readonly deadlineExceeded: boolean;
}

export interface RunningProgram {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Resolves once the program has ended and is reaped and its stderr is read; never rejects. */
  readonly ended: Promise<Outcome>;
}

/**
 * Spawns a program with pipes to its stdin, stdout and stderr; it is killed when `deadlineMs` is over. The caller must write or
 * end stdin and read stdout.
 */
export function startProgram(command: Command, deadlineMs: number): RunningProgram {
  const child = spawn(command.file, command.args, { env: command.env, stdio: ['pipe', 'pipe', 'pipe'] });
  // A program that ends early closes its stdin: its exit status tells why.
  child.stdin.on('error', () => child.stdin.destroy());
  return { child, ended: outcomeOf(child, deadlineMs) };
}

async function outcomeOf(
  child: ChildProcessByStdio<Writable, Readable, Readable>,
  deadlineMs: number,
): Promise<Outcome> {
  let stderr: Buffer = Buffer.alloc(0);
  let deadlineExceeded = false;
  let notStarted: Error | undefined;
  child.stderr.on('data', (chunk: Buffer) => (stderr = Buffer.concat([stderr, chunk]).subarray(-stderrLimitBytes)));
  const timer = setTimeout(() => {
    deadlineExceeded = true;
    child.kill('SIGKILL');
  }, deadlineMs);
  child.once('error', (error) => (notStarted = error));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('close', (exitCode, exitSignal) => resolve([exitCode, exitSignal]));
  });
  clearTimeout(timer);
  const lines = stderr.toString('utf8').trimEnd().split('\n');
  return {
    exitCode: notStarted === undefined ? (code ?? undefined) : undefined,
    signal: signal ?? undefined,
    stderr: notStarted === undefined ? lines.slice(-stderrLines).join('\n') : notStarted.message,
    deadlineExceeded,
  };
}

/** The error for a program that did not succeed, or undefined when it did. */
export function failureOf(
  doing: string,
  outcome: Outcome,
  code: 'FILES_FAILED' | 'CGROUP_UNREACHABLE',
): PodferryError | undefined {
  if (outcome.exitCode === 0) return undefined;
  if (outcome.deadlineExceeded) return new PodferryError('DEADLINE_EXCEEDED', `${doing}: not done before its deadline`);
  const [complaint = ''] = outcome.stderr.split('\n'); // the last line of tar and its like only says that there was one
  const end = outcome.signal ?? (outcome.exitCode === undefined ? 'not started' : `exit code ${outcome.exitCode}`);
  return new PodferryError(code, `${doing}: ${end}: ${complaint}`, { stderr: outcome.stderr });
}

/**
 * Runs a program that needs neither input nor output.
 * @throws PodferryError `code`, DEADLINE_EXCEEDED
 */
export async function runProgram(
  doing: string,
  command: Command,
  code: 'FILES_FAILED' | 'CGROUP_UNREACHABLE',
  deadlineMs: number,
): Promise<void> {
  const { child, ended } = startProgram(command, deadlineMs);
  child.stdin.end();
  child.stdout.resume();
  const failure = failureOf(doing, await ended, code);
  if (failure !== undefined) throw failure;
}

/** Ends a program that is no longer wanted and waits until it is reaped. */
export async function stopProgram(program: RunningProgram): Promise<void> {
  if (program.child.exitCode === null && program.child.signalCode === null) {
    program.child.kill('SIGKILL');
    await once(program.child, 'close');
  }
}
