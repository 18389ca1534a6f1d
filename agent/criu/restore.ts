import { once } from 'node:events';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PodferryError } from '../../proto/errors.ts';
import { criuErrors, describeEnd, endWithin, startChild } from './child.ts';
import type { Criu } from './command.ts';

const lazyLogName = 'lazy-pages.log';

/** Of CRIU's restore, in the images directory. */
export const restoreLogName = 'restore.log';

/** The daemon of CRIU that fills restored processes with their pages. */
export interface LazyDaemon {
  readonly pid: number;
  /** Our end of its page server's connection. */
  readonly pages: Socket;
  /** Resolves when every page of every process is in; rejects with CRIU_RESTORE_FAILED. */
  readonly done: Promise<void>;
  /** Ends it, and resolves when it is gone. The processes it serves must be dead before: they would run on with holes. */
  kill(): Promise<void>;
}

/**
 * Starts `criu lazy-pages` on the images and waits until restored processes may connect to it.
 * @throws PodferryError CRIU_RESTORE_FAILED, or the signal's reason
 */
export async function startLazyDaemon(criu: Criu, imagesDir: string, signal: AbortSignal): Promise<LazyDaemon> {
  const args = [
    'lazy-pages',
    ...['-D', criu.pathFor(imagesDir), '-o', lazyLogName, '-v1'],
    ...['--page-server', '--ps-socket', '3', '--status-fd', '4'],
  ];
  const child = await startChild(criu.command(args), ['pipe', 'pipe'], 'CRIU_RESTORE_FAILED');
  const pages = child.process.stdio[3] as Socket;
  const status = child.process.stdio[4] as Readable;
  const done = child.ended.then(async (end) => {
    if (end.exitCode === 0) return;
    const said = await criuErrors(join(imagesDir, lazyLogName), end.stderr);
    throw new PodferryError('CRIU_RESTORE_FAILED', `criu lazy-pages ${describeEnd(end)}: ${said}`);
  });
  done.catch(() => undefined);
  const kill = async (): Promise<void> => {
    await endWithin(child, 0);
    pages.destroy();
  };
  try {
    await Promise.race([once(status, 'data', { signal }), done]);
    status.destroy();
  } catch (error) {
    await kill();
    signal.throwIfAborted();
    throw error;
  }
  return { pid: child.process.pid ?? 0, pages, done, kill };
}

/** An fd that the restored processes get in place of one they had: CRIU's fd number, and what the source's was. */
export interface InheritedFd {
  readonly fd: number;
  /** `pipe:[4711]` */
  readonly link: string;
}

/** Arguments of the restore that belongs to startLazyDaemon: detached, and stopped until someone sends SIGCONT. */
export function restoreArgs(criu: Criu, imagesDir: string, inherited: readonly InheritedFd[]): string[] {
  return [
    'restore',
    ...['-d', '--leave-stopped', '--lazy-pages', '-D', criu.pathFor(imagesDir), '-o', restoreLogName, '-v2'],
    ...['--tcp-close', '--file-locks', '--manage-cgroups=ignore'],
    ...inherited.flatMap(({ fd, link }) => ['--inherit-fd', `fd[${fd}]:${link}`]),
  ];
}
