import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import { paths } from '../../proto/names.ts';
import type { Command } from './app-namespace.ts';
import { errnoName } from './errno.ts';
import { ping } from './channel.ts';
import type { Placeholder } from './placeholder.ts';
import { readProcess } from './proc-stat.ts';
import { killTree } from './process-tree.ts';

export interface SupervisedRestore {
  readonly placeholder: Placeholder;
  /** Pid of the restored application's root: the one it had when it was dumped. */
  readonly rootPid: number;
  /** Of cgroupProcsFiles(placeholder.pid). */
  readonly cgroupProcs: readonly string[];
  /** `criu restore -d ...`, of inAppNamespace. */
  readonly command: Command;
  /** The command sees them as descriptors 3, 4, ... in this order. The caller closes its own afterwards. */
  readonly inheritedFds?: readonly number[];
  readonly deadlineMs: number;
  /** Our program as the agent sees it. */
  readonly binary?: string;
}

export interface RestoreOutcome {
  /** Of criu. With 0 the tree is restored and the placeholder has adopted its root. */
  readonly exitCode: number;
  /** Its last lines. */
  readonly stderr: string;
}

/** How long a supervisor may take to kill and reap what it started. */
const giveUpMs = 2_000;
const adoptionDeadlineMs = 2_000;
const stderrLimitBytes = 16 * 1024;

/**
 * Restores an application inside the cgroups of its container. The supervisor (placeholder/supervise.c) is criu's parent, and
 * with a restored tree it stays as the parent of its root, in the container's cgroups and not in the agent's: it outlives
 * the agent, and its death costs no more than the exit code on kernels before 6.15.
 *
 * Unless the exit code is 0, everything that was started is dead and reaped when this returns or throws.
 * @throws PodferryError PID_IN_USE, CGROUP_UNREACHABLE, PLACEHOLDER_UNREACHABLE, DEADLINE_EXCEEDED, INTERNAL
 */
export async function runSupervised(restore: SupervisedRestore): Promise<RestoreOutcome> {
  const { placeholder, rootPid, command } = restore;
  const occupant = readProcess(rootPid);
  if (occupant !== undefined) {
    const message = `pid ${rootPid} of the application is in use by ${occupant.name}`;
    throw new PodferryError('PID_IN_USE', message, { pid: rootPid, name: occupant.name });
  }
  const child = spawn(
    restore.binary ?? paths.placeholder,
    [
      'supervise',
      String(placeholder.pid),
      String(rootPid),
      ...restore.cgroupProcs,
      '--',
      command.file,
      ...command.args,
    ],
    { env: command.env, stdio: ['ignore', 'pipe', 'pipe', ...(restore.inheritedFds ?? [])] },
  );
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new PodferryError('INTERNAL', 'the supervisor has no pipes');
  const lastWords = tailOf(stderr);
  try {
    const exitCode = exitCodeIn(await reportOf(child, stdout, restore.deadlineMs));
    if (exitCode === 0) await confirmAdoption(placeholder, rootPid);
    else await endSupervisor(child, rootPid);
    // From here on the supervisor answers to the container; the agent must be able to end without it.
    child.unref();
    return { exitCode, stderr: lastWords() };
  } catch (error) {
    await endSupervisor(child, rootPid);
    throw error;
  } finally {
    stdout.destroy();
    stderr.destroy();
  }
}

function tailOf(stream: Readable): () => string {
  let text: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => (text = Buffer.concat([text, chunk]).subarray(-stderrLimitBytes)));
  return () => text.toString('utf8').trimEnd();
}

/** What the supervisor says on stdout, up to the point where it closes it: with its end, or when the tree is restored. */
async function reportOf(child: ChildProcess, stdout: Readable, deadlineMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let report = '';
    const timer = setTimeout(() => {
      const message = `the restore was not done within ${deadlineMs} ms`;
      reject(new PodferryError('DEADLINE_EXCEEDED', message, { deadlineMs }));
    }, deadlineMs);
    child.once('error', (cause) => {
      clearTimeout(timer);
      reject(new PodferryError('INTERNAL', 'the supervisor of a restore cannot be started', {}, { cause }));
    });
    stdout.setEncoding('utf8');
    stdout.on('data', (text: string) => (report += text));
    stdout.once('end', () => {
      clearTimeout(timer);
      resolve(report);
    });
  });
}

function exitCodeIn(report: string): number {
  const [, cgroupErrno, cgroupFile] = /^cgroup (\d+) (.*)$/m.exec(report) ?? [];
  if (cgroupErrno !== undefined && cgroupFile !== undefined) {
    const errno = errnoName(Number(cgroupErrno));
    throw new PodferryError('CGROUP_UNREACHABLE', `entering ${cgroupFile}: ${errno}`, { errno, file: cgroupFile });
  }
  const [, channelErrno] = /^placeholder (\d+)$/m.exec(report) ?? [];
  if (channelErrno !== undefined) {
    const errno = errnoName(Number(channelErrno));
    throw new PodferryError('PLACEHOLDER_UNREACHABLE', `opening the channel of the placeholder: ${errno}`, { errno });
  }
  const [, exitCode] = /^exit (\d+)$/m.exec(report) ?? [];
  if (exitCode === undefined) throw new PodferryError('INTERNAL', 'the supervisor of a restore ended without a word');
  return Number(exitCode);
}

/** The supervisor's word reached the placeholder before its stdout closed, so one question is enough. */
async function confirmAdoption(placeholder: Placeholder, rootPid: number): Promise<void> {
  const { appPid } = await ping(placeholder, adoptionDeadlineMs);
  if (appPid === rootPid) return;
  const message = `the placeholder has application ${appPid}, not the restored ${rootPid}`;
  throw new PodferryError('PLACEHOLDER_UNREACHABLE', message, { appPid, rootPid });
}

async function endSupervisor(child: ChildProcess, rootPid: number): Promise<void> {
  if (child.pid === undefined) return;
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode === null && child.signalCode === null) child.once('exit', () => resolve());
    else resolve();
  });
  child.kill('SIGTERM'); // it kills and reaps whatever it started, then ends
  const timer = setTimeout(() => child.kill('SIGKILL'), giveUpMs);
  await ended;
  clearTimeout(timer);
  await killTree(rootPid, giveUpMs); // what is left when the supervisor itself had to be killed
}
