import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import { criuErrors, describeEnd, endWithin, startChild } from './child.ts';
import type { Criu } from './command.ts';
import { leftName } from './left-pages.ts';
import { command, encodeHeader } from './page-xfer.ts';
import { undoDump, undoEnv } from './undo.ts';

/** How long an aborted CRIU may take to put the processes back as they were before it is killed. */
const abortGraceMs = 10_000;

/** Open files without a name travel inside the images, which are in memory, up to this size each. */
export const ghostLimitBytes = 64 * 1024 * 1024;

const logName = 'dump.log';

export interface DumpOptions {
  readonly criu: Criu;
  readonly pid: number;
  /** Existing, empty; gets the metadata images. */
  readonly imagesDir: string;
  /** How long CRIU may try to stop every process. */
  readonly stopSeconds: number;
  /** Our program as the agent sees it. */
  readonly binary?: string | undefined;
}

/** A dump under way. */
export interface Dump {
  /** Our end of the page server's connection. */
  readonly pages: Socket;
  /**
   * Resolves when CRIU has ended well and left the tree stopped.
   * Rejects with CRIU_DUMP_FAILED, holding CRIU's own words; then the tree is as it was, also when CRIU was killed; it runs or is stopped, and is
   * not traced.
   */
  readonly done: Promise<void>;
  /**
   * Ends CRIU early, and resolves when it is gone. It is made to fail by itself; one that does not end in time is killed, and what it has
   * changed undone.
   */
  abort(): Promise<void>;
}

/** A dump that leaves private anonymous memory to us. CRIU holds the tree until it is told that nobody wants a page of it. */
export interface LazyDump extends Dump {
  /** Resolves when every image is written. Rejects as done does. */
  readonly ready: Promise<void>;
  /** Lets CRIU end; not before `ready`. */
  release(): void;
}

/**
 * The options that make ordinary servers dumpable: established connections are restored closed (clients reconnect),
 * connections not yet accepted are dropped, file locks travel.
 */
const dumpOptions = [
  '--tcp-close',
  '--skip-in-flight',
  '--file-locks',
  '--manage-cgroups=ignore',
  '--ghost-limit',
  String(ghostLimitBytes),
];

/**
 * Starts `criu dump` with its pages sent to us over a socket pair and only metadata written to imagesDir.
 * @throws PodferryError CRIU_DUMP_FAILED when CRIU cannot be executed
 */
export async function startDump(options: DumpOptions): Promise<Dump> {
  return (await start(options, ['--page-server', '--ps-socket', '3'], ['pipe'])).dump;
}

/**
 * Starts `criu dump` that writes metadata and the pages of shared memory and mapped files to imagesDir, and no others. Which those are
 * it is not told (left-pages.ts). A kernel before 6.7 tells it nevertheless, and it needs two open files for each MiB of them: node has
 * raised the limit, which children inherit, as far as it goes.
 * @throws PodferryError CRIU_DUMP_FAILED when CRIU cannot be executed
 */
export async function startLazyDump(options: DumpOptions): Promise<LazyDump> {
  const { dump, process } = await start(
    options,
    ['--lazy-pages', '--ps-socket', '3', '--status-fd', '4'],
    ['pipe', 'pipe'],
    { PODFERRY_CRIU_LEFT: options.criu.pathFor(join(options.imagesDir, leftName)) },
  );
  const status = process.stdio[4] as Readable;
  const wrote = new Promise<void>((resolve) => status.once('data', () => resolve()));
  const ready = Promise.race([wrote, dump.done]);
  ready.catch(() => undefined);
  // CRIU's answer says nothing more than its exit; an error here comes from its end, which `done` tells in its own words.
  dump.pages.on('error', () => undefined).resume();
  status.on('error', () => undefined);
  const nothing = { command: command.forceClose, flags: 0, pages: 0, page: 0, destination: 0n };
  return { ...dump, ready, release: () => void dump.pages.write(encodeHeader(nothing)) };
}

async function start(
  { criu, pid, imagesDir, stopSeconds, binary }: DumpOptions,
  pagesTo: readonly string[],
  fds: readonly 'pipe'[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly dump: Dump; readonly process: ChildProcess }> {
  const args = [
    'dump',
    ...['-t', String(pid), '-D', criu.pathFor(imagesDir), '-o', logName, '-v2'],
    ...pagesTo,
    ...['--leave-stopped', '--timeout', String(stopSeconds)],
    ...dumpOptions,
  ];
  const run = criu.command(args);
  const env = { ...run.env, ...undoEnv(criu, imagesDir), ...environment };
  const child = await startChild({ ...run, env }, fds, 'CRIU_DUMP_FAILED');
  // The type of an extra pipe does not say so, but node makes a UNIX socket pair.
  const pages = child.process.stdio[3] as Socket;
  const done = child.ended.then(async (end) => {
    if (end.exitCode === 0) return;
    const what = `criu dump of pid ${pid} ${describeEnd(end)}`;
    if (end.signal !== null) {
      const isUndone = await undoDump(imagesDir, binary);
      const state = isUndone
        ? 'its processes are as they were before'
        : 'what it changed in its processes is not known';
      throw new PodferryError('CRIU_DUMP_FAILED', `${what}; ${state}`, { pid });
    }
    const said = await criuErrors(join(imagesDir, logName), end.stderr);
    throw new PodferryError('CRIU_DUMP_FAILED', `${what}: ${said}`, { pid });
  });
  // Handled by whoever awaits done; an early rejection must not be an unhandled one.
  done.catch(() => undefined);
  const abort = async (): Promise<void> => {
    pages.destroy();
    await endWithin(child, abortGraceMs);
    await done.catch(() => undefined);
  };
  return { dump: { pages, done, abort }, process: child.process };
}
