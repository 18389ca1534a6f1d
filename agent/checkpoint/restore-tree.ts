import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError, toPodferryError } from '../../proto/errors.ts';
import { criuErrors } from '../criu/child.ts';
import type { Criu } from '../criu/command.ts';
import { restoreArgs, restoreLogName } from '../criu/restore.ts';
import type { FaultGuard } from '../launch/fault-guard.ts';
import { exists, readProcess, threadStates } from '../launch/proc-stat.ts';
import { killTree } from '../launch/process-tree.ts';
import type { Filler } from '../pages/filler.ts';
import type { PageFilling } from '../pages/page-filling.ts';
import type { Manifest } from '../store/manifest.ts';
import type { Attempt } from './attempt.ts';
import { openStdio } from './stdio.ts';
import type { Stopwatch } from './stopwatch.ts';
import { endedWithin, killPids } from './tree.ts';

/** How long the parts of a failed restore may take to be gone. */
const cleanUpMs = 10_000;
const killAgainMs = 50;
const fillerGraceMs = 1_000;

/** SIGSTOP takes effect in well under a millisecond, unless the machine is overloaded. */
const stopMs = 5_000;
const lookEveryMs = 1;
const stoppedStates = 'TtZX';

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

/** What an application that runs on while its pages arrive needs from the launcher. */
export interface LazyCare {
  /** Makes a missing page wait even when the filler dies. @throws PodferryError when it cannot: then every page is put in first */
  readonly guard: (rootPid: number, fillerPid: number) => Promise<FaultGuard>;
  /** Called before a tree with missing pages is killed; until then its processes wait for these. Must not throw. */
  readonly beforeKill?: () => Promise<void>;
}

export interface RestoreTreeOptions {
  readonly criu: Criu;
  readonly runRestore: RunRestore;
  readonly firstInheritedFd: number;
  readonly stdioPid: number;
  /** Holds the metadata images and the pages that are not lazy. */
  readonly workDir: string;
  readonly manifest: Manifest;
  readonly filler: Filler;
  readonly filling: PageFilling;
  /** All processes that the images hold, root first; none of them exists yet. */
  readonly pids: readonly number[];
  /** undefined: the tree is not restored before every page is in. */
  readonly lazy: LazyCare | undefined;
  readonly watch: Stopwatch;
}

/** A restored and stopped tree. */
export interface Restored {
  /** Resolves when every page is in. Rejects with the first failure when nothing of the tree is alive. */
  readonly pages: Promise<void>;
  /**
   * Makes the tree fit to be continued with pages missing: sets up the guard or, when that cannot be, puts every page in first. To be called once.
   * Resolves to why it had to; rejects when the tree is lost, as `pages` does.
   */
  readonly prepare: () => Promise<PodferryError | undefined>;
  /** Begins to put in what nobody waits for. Before it only touched pages are answered. */
  readonly fill: () => void;
}

/**
 * Restores the tree stopped. Without `lazy` every page is in then.
 * @throws PodferryError the attempt's failure, when everything it made is gone
 */
export async function restoreTree(options: RestoreTreeOptions, attempt: Attempt): Promise<Restored> {
  const { filler, filling, watch, lazy } = options;
  const restored = runCriu(options, attempt);
  // When CRIU's restore fails so does its filler, whose words only say that. Alone, the filler's failure must not go unnoticed.
  let graceMs = fillerGraceMs;
  filler.done.catch(async (error: unknown) => {
    await delay(graceMs);
    attempt.fail(error);
  });
  try {
    await attempt.race(restored);
    watch.lap('criu restore');
    await allStopped(options.pids, attempt);
    graceMs = 0;
    if (lazy !== undefined) return lazyTree(options, lazy, attempt);
    filling.fill();
    await attempt.race(filler.done);
    watch.lap('pages');
    return { pages: Promise.resolve(), prepare: async () => undefined, fill: () => undefined };
  } catch (error) {
    const failure = attempt.failure(error);
    filling.stop();
    await cleanUp(options, filler, restored);
    throw failure;
  }
}

/** CRIU ends as soon as it has sent the stops: a process may still be on its way to its own. */
async function allStopped(pids: readonly number[], attempt: Attempt): Promise<void> {
  const endsAt = performance.now() + stopMs;
  for (;;) {
    const running = pids.find((pid) => !threadStates(pid).every((state) => stoppedStates.includes(state)));
    if (running === undefined) return;
    if (performance.now() > endsAt) {
      const message = `the restored process ${running} did not stop within ${stopMs} ms`;
      throw new PodferryError('CRIU_RESTORE_FAILED', message, { pid: running });
    }
    await attempt.race(delay(lookEveryMs));
  }
}

function lazyTree(options: RestoreTreeOptions, lazy: LazyCare, attempt: Attempt): Restored {
  const { filling, filler, manifest } = options;
  let guarding: Promise<FaultGuard | undefined> = Promise.resolve(undefined);
  const prepare = async (): Promise<PodferryError | undefined> => {
    let unguarded: PodferryError | undefined;
    guarding = wholeGuard(lazy, filler, manifest).catch((error: unknown) => {
      unguarded = toPodferryError(error, 'guard the restored memory');
      return undefined;
    });
    await attempt.race(guarding);
    if (unguarded === undefined) return undefined;
    filling.fill();
    await attempt.race(filler.done);
    return unguarded;
  };
  return { pages: drain(options, lazy, () => guarding, attempt), prepare, fill: () => filling.fill() };
}

/** A filler that is being killed has closed some of what is to be held, or all of it. @throws PodferryError CRIU_RESTORE_FAILED */
async function wholeGuard(lazy: LazyCare, filler: Filler, { rootPid, pages }: Manifest): Promise<FaultGuard> {
  const guard = await lazy.guard(rootPid, filler.pid);
  const needed = pages.filter(({ kind, runs }) => kind === 'pid' && runs.hasLater).length;
  if (guard.held >= needed) return guard;
  await guard.release();
  const message = `the filler has ended: of ${needed} processes with missing pages ${guard.held} can be guarded`;
  throw new PodferryError('CRIU_RESTORE_FAILED', message);
}

/** The rest of a lazy restore: until all pages are in, the tree, the filler and the page filling live or die together. */
async function drain(
  options: RestoreTreeOptions,
  lazy: LazyCare,
  guard: () => Promise<FaultGuard | undefined>,
  attempt: Attempt,
): Promise<void> {
  const { filler, filling, manifest } = options;
  const made = options.pids.flatMap((pid) => readProcess(pid) ?? []);
  try {
    await attempt.race(filler.done);
  } catch (error) {
    const failure = attempt.failure(error);
    filling.stop();
    // Whoever touches a missing page waits: the guard holds it. So there is time to say that the container is to stay.
    await lazy.beforeKill?.();
    const dead = killTree(manifest.rootPid, cleanUpMs);
    killPids(made.filter((process) => exists(process)).map(({ pid }) => pid));
    await dead.catch(attempt.fail);
    await endedWithin(
      made.filter((process) => exists(process)).map(({ pid }) => pid),
      cleanUpMs,
    );
    await filler.kill();
    await (await guard())?.release();
    throw failure;
  }
  // First: until then a page that never had content waits as well.
  await (await guard())?.release();
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

/** Kills the processes before their page filling goes: none may run on with pages missing. */
async function cleanUp(options: RestoreTreeOptions, filler: Filler, restored: Promise<void>): Promise<void> {
  const settled = restored.then(
    () => true,
    () => true,
  );
  const endsAt = performance.now() + cleanUpMs;
  // While CRIU still runs it may make further processes.
  do {
    killPids(options.pids);
    await filler.kill();
  } while (!(await Promise.race([settled, delay(killAgainMs, false)])) && performance.now() < endsAt);
  killPids(options.pids);
  await endedWithin(options.pids, Math.max(endsAt - performance.now(), 0));
}
