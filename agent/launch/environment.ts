import { readFile } from 'node:fs/promises';
import { PodferryError } from '../../proto/errors.ts';

/** The environment of a process: from the container's `env` and from its image. Never logged. */
export type Environment = ReadonlyMap<string, string>;

/** Parses the NUL-separated block that the kernel keeps of a process's initial environment; of equal names the first counts, as in getenv. */
export function parseEnvironment(block: string): Environment {
  const environment = new Map<string, string>();
  for (const entry of block.split('\0')) {
    const equals = entry.indexOf('=');
    if (equals > 0 && !environment.has(entry.slice(0, equals))) {
      environment.set(entry.slice(0, equals), entry.slice(equals + 1));
    }
  }
  return environment;
}

/**
 * The environment a process was started with; needs ptrace access to it.
 * @throws PodferryError PLACEHOLDER_UNREACHABLE when the process has ended or may not be read
 */
export async function readEnvironment(pid: number): Promise<Environment> {
  try {
    return parseEnvironment(await readFile(`/proc/${pid}/environ`, 'utf8'));
  } catch (cause) {
    throw new PodferryError('PLACEHOLDER_UNREACHABLE', `cannot read the environment of pid ${pid}`, { pid }, { cause });
  }
}
