import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { PodferryError } from '../../proto/errors.ts';
import type { Criu } from './command.ts';

const run = promisify(execFile);

/** The oldest CRIU whose page-xfer header and listening sockets on current kernels are right. */
const oldest = [4, 2, 1] as const;

/** The version in `criu --version`'s output, such as "4.2.1". @throws PodferryError CRIU_UNSUPPORTED when none or too old */
export function parseCriuVersion(output: string): string {
  const found = /^Version: (\d+)\.(\d+)(?:\.(\d+))?/m.exec(output);
  if (found === null) throw new PodferryError('CRIU_UNSUPPORTED', 'criu --version named no version');
  const parts = found.slice(1).map((part: string | undefined) => Number(part ?? 0));
  const version = parts.join('.');
  const difference = oldest.map((least, i) => (parts[i] ?? 0) - least).find((d) => d !== 0) ?? 0;
  if (difference < 0) {
    throw new PodferryError('CRIU_UNSUPPORTED', `criu is ${version}; ${oldest.join('.')} is the oldest supported`, {
      version,
    });
  }
  return version;
}

/**
 * Lets CRIU look at the kernel, so that its next starts find what it learned (image/criu-tmp.c) and take a fifth of the time. What it thinks of
 * the kernel does not matter here.
 * @throws Error when it cannot be run
 */
export async function warmCriu(criu: Criu, deadlineMs: number): Promise<void> {
  const { file, args, env } = criu.command(['check']);
  await run(file, args, { env, timeout: deadlineMs, killSignal: 'SIGKILL' });
}

/** @throws PodferryError CRIU_UNSUPPORTED, also when criu cannot be run within the deadline */
export async function criuVersion(criu: Criu, deadlineMs: number): Promise<string> {
  const { file, args, env } = criu.command(['--version']);
  let output: string;
  try {
    output = (await run(file, args, { env, timeout: deadlineMs, killSignal: 'SIGKILL' })).stdout;
  } catch (error) {
    throw new PodferryError('CRIU_UNSUPPORTED', 'criu --version could not be run', { file }, { cause: error });
  }
  return parseCriuVersion(output);
}
