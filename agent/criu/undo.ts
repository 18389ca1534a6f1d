import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PodferryError } from '../../proto/errors.ts';
import { paths } from '../../proto/names.ts';
import type { Criu } from './command.ts';

const run = promisify(execFile);

/** Longer than it waits for each of some threads. */
const deadlineMs = 30_000;

/** Of a dump, in its images directory. */
const logName = 'criu.undo';

/** Has a dump write down what it changes in the processes (image/criu-undo.c). */
export function undoEnv(criu: Criu, imagesDir: string): Readonly<Record<string, string>> {
  return { PODFERRY_CRIU_UNDO: criu.pathFor(join(imagesDir, logName)) };
}

/**
 * Puts the processes of a dump back as they were, when its CRIU was killed, and leaves them stopped. Does nothing when there was no dump, or when
 * CRIU had finished with them.
 * @param binary our program as the agent sees it
 * @returns whether CRIU had written down what it changes; else nothing is known of that
 * @throws PodferryError CRIU_DUMP_FAILED
 */
export async function undoDump(imagesDir: string, binary: string = paths.placeholder): Promise<boolean> {
  const log = join(imagesDir, logName);
  if (!existsSync(log)) return false;
  try {
    await run(binary, ['undo', log], { env: {}, timeout: deadlineMs, killSignal: 'SIGKILL' });
    return true;
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim().replaceAll('\n', '; ') : '';
    throw new PodferryError('CRIU_DUMP_FAILED', `what CRIU left in the processes stays: ${said}`, {}, { cause });
  }
}
