import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PodferryError } from '../../proto/errors.ts';
import { paths } from '../../proto/names.ts';
import { errnoName } from './errno.ts';

const giveUpMs = 2_000;

export interface FaultGuardOptions {
  /** First process of the container, whose namespaces the guard joins. */
  readonly entrypointPid: number;
  readonly rootPid: number;
  /** The filler (fill-pages.c), as long as it runs. */
  readonly fillerPid: number;
  /** Of cgroupProcsFiles: the guard lives in the application's cgroups. */
  readonly cgroupProcs: readonly string[];
  readonly deadlineMs: number;
  /** Our program as the agent sees it. */
  readonly binary?: string;
}

/** A process (placeholder/hold-faults.c) because of which a page that has not come makes its reader wait and never reads as zeroes. */
export interface FaultGuard {
  /** Of how many processes it holds the memory. */
  readonly held: number;
  /** Lets go: every page is in, or nothing of the tree is alive. Resolves when it is gone. */
  release(): Promise<void>;
}

/**
 * Guards a restored tree that is still stopped. The guard outlives the filler, and the agent.
 * @throws PodferryError CRIU_RESTORE_FAILED
 */
export async function guardFaults(options: FaultGuardOptions): Promise<FaultGuard> {
  const { entrypointPid, rootPid, fillerPid, cgroupProcs, binary = paths.placeholder } = options;
  const call = [binary, 'hold-faults', String(entrypointPid), String(rootPid), String(fillerPid)];
  const child = spawn(binary, ['within', ...cgroupProcs, '--', ...call], {
    env: {},
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.once('error', () => child.stdout.destroy()); // it cannot be executed, and so says nothing
  child.stdin.on('error', () => child.stdin.destroy()); // it has ended already
  try {
    const held = await countIn(child.stdout, options.deadlineMs);
    // The agent must be able to end without it.
    child.unref();
    const release = async (): Promise<void> => {
      child.stdin.end('.');
      const timer = setTimeout(() => child.kill('SIGKILL'), giveUpMs);
      await ended;
      clearTimeout(timer);
    };
    return { held, release };
  } catch (cause) {
    child.kill('SIGKILL');
    await ended;
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `the guard of the memory of process ${rootPid} could not be set up: ${why}`;
    throw new PodferryError('CRIU_RESTORE_FAILED', message, {}, { cause });
  } finally {
    child.stdout.destroy();
  }
}

async function countIn(stdout: NodeJS.ReadableStream, deadlineMs: number): Promise<number> {
  const signal = AbortSignal.timeout(deadlineMs);
  const ended = once(stdout, 'close', { signal }).then(() => 'nothing');
  const [word] = await Promise.race([once(stdout, 'data', { signal }), ended.then((text) => [text])]);
  const text = String(word).trim();
  const [, held] = /^held (\d+)$/.exec(text) ?? [];
  if (held !== undefined) return Number(held);
  const [, errno] = /^failed (\d+)$/.exec(text) ?? [];
  throw new Error(errno === undefined ? `it said ${text}` : errnoName(Number(errno)));
}
