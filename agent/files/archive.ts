import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { paths } from '../../proto/names.ts';
import { inAppNamespace, loaderArgv, programs, type AppPlace, type Command } from '../launch/app-namespace.ts';
import { failureOf, startProgram, stopProgram } from '../launch/run-program.ts';
import { toPodferryError } from '../../proto/errors.ts';

/** Everything a file is, numbers and not names for its owner; the security label is the target container's own. */
const fidelity = [
  '--numeric-owner',
  '--acls',
  '--xattrs',
  '--xattrs-include=*',
  '--xattrs-exclude=security.selinux',
] as const;

export interface UnpackOptions {
  readonly deadlineMs: number;
  /** cgroup.procs files of the container: memory of its memory-backed volumes is then charged to it and not to the agent. */
  readonly cgroupProcs?: readonly string[];
  /** Our program as the agent sees it; used with cgroupProcs. */
  readonly binary?: string;
}

/**
 * Reads these files of the container as a tar archive (POSIX format, nanoseconds, hard links, sparse files, fifos). Streams:
 * a file of any size takes no memory. The listing decides what is inside, nothing is followed or descended into.
 * @param changed of changesSince
 * @returns a stream that fails with PodferryError FILES_FAILED or DEADLINE_EXCEEDED before its end when anything could not be
 *   read as it was: it never ends well while incomplete
 */
export function packFiles(place: AppPlace, changed: readonly string[], deadlineMs: number): Readable {
  const args = [
    '--create',
    '--file=-',
    '--directory=/',
    '--format=posix',
    '--sparse',
    '--no-recursion',
    '--null',
    '--verbatim-files-from',
    '--files-from=-',
    ...fidelity,
  ];
  const program = startProgram(inAppNamespace({ ...place, program: programs.tar, args }), deadlineMs);
  const { child, ended } = program;
  async function* archive(): AsyncGenerator<Buffer> {
    const listed = pipeline(nameList(changed), child.stdin).catch((error: unknown) => error);
    try {
      for await (const chunk of child.stdout) yield chunk;
      const failure = failureOf("packing the container's changed files", await ended, 'FILES_FAILED');
      if (failure !== undefined) throw failure;
      const listError = await listed;
      if (listError instanceof Error) throw toPodferryError(listError, 'naming the changed files to tar');
    } finally {
      await stopProgram(program);
    }
  }
  const stream = Readable.from(archive(), { objectMode: false });
  // A reader that goes away while tar is silent would otherwise leave it until its deadline.
  stream.once('close', () => child.kill('SIGKILL'));
  return stream;
}

/**
 * Makes the container's files those of the checkpoint: removes what the application had deleted, then unpacks what it had
 * changed. Runs in the application's own mount namespace, so no link in it can lead out of its root. The application must not run.
 * @throws PodferryError FILES_FAILED, DEADLINE_EXCEEDED, or the archive's own error
 */
export async function unpackFiles(
  place: AppPlace,
  archive: Readable,
  deleted: readonly string[],
  options: UnpackOptions,
): Promise<void> {
  const until = performance.now() + options.deadlineMs;
  const leftMs = (): number => Math.max(1, until - performance.now());
  if (deleted.length > 0) {
    const remove = loaderArgv(place.agentRoot, {
      program: programs.rm,
      args: ['--dir', '--force', '--no-preserve-root', '--'],
    });
    const command = inAppNamespace({
      ...place,
      program: programs.xargs,
      args: ['--null', '--no-run-if-empty', ...remove],
    });
    await feed('removing files the application had deleted', command, nameList(deleted), leftMs());
  }
  const args = [
    '--extract',
    '--file=-',
    '--directory=/',
    '--preserve-permissions',
    '--same-owner',
    '--delay-directory-restore',
    ...fidelity,
  ];
  const command = inAppNamespace({ ...place, program: programs.tar, args });
  await feed("unpacking the container's changed files", within(command, options), archive, leftMs());
}

async function feed(doing: string, command: Command, input: Readable, deadlineMs: number): Promise<void> {
  const program = startProgram(command, deadlineMs);
  program.child.stdout.resume();
  let inputError: unknown;
  input.once('error', (error) => (inputError = error));
  try {
    await pipeline(input, program.child.stdin);
  } catch (error) {
    // A program that ended before its input did says itself why; an input that broke off must not look complete.
    if (inputError === error) throw error;
  } finally {
    if (inputError !== undefined) await stopProgram(program);
  }
  const failure = failureOf(doing, await program.ended, 'FILES_FAILED');
  if (failure !== undefined) throw failure;
}

function within(command: Command, options: UnpackOptions): Command {
  const procs = options.cgroupProcs ?? [];
  if (procs.length === 0) return command;
  return {
    file: options.binary ?? paths.placeholder,
    args: ['within', ...procs, '--', command.file, ...command.args],
    env: command.env,
  };
}

/** NUL-terminated and relative to the root, so that no tool complains about, or strips, a leading slash. */
function nameList(names: readonly string[]): Readable {
  function* chunks(): Generator<Buffer> {
    for (const name of names) yield Buffer.from(`.${name}\0`, 'latin1');
  }
  return Readable.from(chunks(), { objectMode: false });
}
