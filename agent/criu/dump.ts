import { join } from 'node:path';
import type { Socket } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import { criuErrors, describeEnd, endWithin, startChild } from './child.ts';
import type { Criu } from './command.ts';

/** How long an aborted CRIU may take to put the processes back as they were before it is killed. */
const abortGraceMs = 10_000;

/** Open files without a name travel inside the images, which are in memory, up to this size each. */
const ghostLimit = '64M';

const logName = 'dump.log';

export interface DumpOptions {
  readonly criu: Criu;
  readonly pid: number;
  /** Existing, empty; gets the metadata images. */
  readonly imagesDir: string;
  /** How long CRIU may try to stop every process. */
  readonly stopSeconds: number;
}

/** A dump under way. */
export interface Dump {
  /** Our end of the page server's connection. */
  readonly pages: Socket;
  /**
   * Resolves when CRIU has ended well and left the tree stopped.
   * Rejects with CRIU_DUMP_FAILED, holding CRIU's own words; then the tree runs again or is stopped, and is not traced.
   */
  readonly done: Promise<void>;
  /**
   * Ends CRIU early, and resolves when it is gone. It is made to fail by itself, since it puts the processes back as they
   * were: one that is killed in the middle leaves its code in them. Only one that does not end in time is killed.
   */
  abort(): Promise<void>;
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
  ghostLimit,
];

/**
 * Starts `criu dump` with its pages sent to us over a socket pair and only metadata written to imagesDir.
 * @throws PodferryError CRIU_DUMP_FAILED when CRIU cannot be executed
 */
export async function startDump(options: DumpOptions): Promise<Dump> {
  const { criu, pid, imagesDir } = options;
  const args = [
    'dump',
    ...['-t', String(pid), '-D', criu.pathFor(imagesDir), '-o', logName, '-v2'],
    ...['--page-server', '--ps-socket', '3', '--leave-stopped', '--timeout', String(options.stopSeconds)],
    ...dumpOptions,
  ];
  const child = await startChild(criu.command(args), ['pipe'], 'CRIU_DUMP_FAILED');
  // The type of an extra pipe does not say so, but node makes a UNIX socket pair.
  const pages = child.process.stdio[3] as Socket;
  const done = child.ended.then(async (end) => {
    if (end.exitCode === 0) return;
    const said = await criuErrors(join(imagesDir, logName), end.stderr);
    throw new PodferryError('CRIU_DUMP_FAILED', `criu dump of pid ${pid} ${describeEnd(end)}: ${said}`, { pid });
  });
  // Handled by whoever awaits done; an early rejection must not be an unhandled one.
  done.catch(() => undefined);
  return {
    pages,
    done,
    async abort() {
      pages.destroy();
      await endWithin(child, abortGraceMs);
    },
  };
}
