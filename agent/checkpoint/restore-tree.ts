import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../../proto/errors.ts';
import { criuErrors } from '../criu/child.ts';
import type { Criu } from '../criu/command.ts';
import { restoreArgs, restoreLogName, startLazyDaemon, type LazyDaemon } from '../criu/restore.ts';
import { LazyServer } from '../pages/lazy-server.ts';
import type { Manifest } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import type { Attempt } from './attempt.ts';
import { openStdio } from './stdio.ts';
import type { Stopwatch } from './stopwatch.ts';
import { endedWithin, killPids } from './tree.ts';

/** How long the parts of a failed restore may take to be gone. */
const cleanUpMs = 10_000;
const killAgainMs = 50;
const daemonGraceMs = 1_000;

/** One run of `criu restore` for the launcher, which puts it into the application's cgroup under its supervisor. */
export interface RestoreRun {
  /** CRIU's own arguments, from `restore` on. */
  readonly args: readonly string[];
  readonly rootPid: number;
  /** fds[i] is to be fd firstInheritedFd + i of CRIU. */
  readonly fds: readonly number[];
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/**
 * Resolves when CRIU has ended well: the tree is there, stopped. Otherwise CRIU is reaped and it rejects.
 * It need not watch the signal: the tree is killed on abort, at which CRIU fails.
 * @throws PodferryError CRIU_RESTORE_FAILED, to which CRIU's own words are added here, and whatever the launcher meets
 */
export type RunRestore = (run: RestoreRun) => Promise<void>;

export interface RestoreTreeOptions {
  /** Runs the lazy daemon. */
  readonly criu: Criu;
  readonly runRestore: RunRestore;
  readonly firstInheritedFd: number;
  readonly stdioPid: number;
  /** Holds the metadata images and the pages that are not lazy. */
  readonly workDir: string;
  readonly manifest: Manifest;
  readonly reader: PackReader;
  /** All processes that the images hold, root first; none of them exists yet. */
  readonly pids: readonly number[];
  readonly watch: Stopwatch;
}

/**
 * Restores the tree stopped and waits until the lazy daemon has put every page in.
 * @throws PodferryError the attempt's failure, when everything it made is gone
 */
export async function restoreTree(options: RestoreTreeOptions, attempt: Attempt): Promise<void> {
  const { criu, workDir, manifest, reader, watch } = options;
  const daemon = await startLazyDaemon(criu, workDir, attempt.signal);
  watch.lap('lazy daemon');
  const server = new LazyServer({ socket: daemon.pages, images: manifest.pages, reader, fail: attempt.fail });
  const restored = runCriu(options, attempt);
  // When CRIU's restore fails so does its daemon, whose words only say that. Alone, the daemon's failure must not go unnoticed.
  daemon.done.catch(async (error: unknown) => {
    await delay(daemonGraceMs);
    attempt.fail(error);
  });
  try {
    await attempt.race(restored);
    watch.lap('criu restore');
    await attempt.race(daemon.done);
    watch.lap('pages');
  } catch (error) {
    const failure = attempt.failure(error);
    server.stop();
    await cleanUp(options, daemon, restored);
    throw failure;
  }
  daemon.pages.destroy();
}

async function runCriu(options: RestoreTreeOptions, attempt: Attempt): Promise<void> {
  const stdio = await openStdio(options.stdioPid, options.manifest.stdio, options.firstInheritedFd);
  try {
    await options.runRestore({
      args: restoreArgs(options.criu, options.workDir, stdio.inherited),
      rootPid: options.manifest.rootPid,
      fds: stdio.fds,
      deadlineMs: attempt.remainingMs,
      signal: attempt.signal,
    });
  } catch (error) {
    if (!(error instanceof PodferryError) || error.code !== 'CRIU_RESTORE_FAILED') throw error;
    const said = await criuErrors(join(options.workDir, restoreLogName));
    throw new PodferryError(error.code, `${error.message}: ${said}`, error.detail, { cause: error });
  } finally {
    await stdio.close();
  }
}

/** Kills the processes before their page server goes: none may run on with pages missing. */
async function cleanUp(options: RestoreTreeOptions, daemon: LazyDaemon, restored: Promise<void>): Promise<void> {
  const settled = restored.then(
    () => true,
    () => true,
  );
  const endsAt = performance.now() + cleanUpMs;
  // While CRIU still runs it may make further processes.
  do {
    killPids(options.pids);
    await daemon.kill();
  } while (!(await Promise.race([settled, delay(killAgainMs, false)])) && performance.now() < endsAt);
  killPids(options.pids);
  await endedWithin(options.pids, Math.max(endsAt - performance.now(), 0));
}
