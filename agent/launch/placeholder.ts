import { readFile, stat } from 'node:fs/promises';
import { paths } from '../../proto/names.ts';
import { exists, hasVanished, listPids, readProcess, type ProcessId } from './proc-stat.ts';

/** The entrypoint of the application's container: our static program, running as `sleep infinity`. */
export type Placeholder = ProcessId;

export interface FindOptions {
  /** Our program as the agent sees it; processes are matched by its device and inode, which a name could not prove. */
  readonly binary?: string;
  readonly proc?: string;
}

/**
 * Looks for the application's entrypoint among the processes of the pod.
 *
 * It is the process that executes our program as `infinity` and whose parent is outside the pod's pid namespace: only
 * the container runtime makes such a process, the application cannot.
 * @returns the newest one while an old container is still ending; undefined when there is none
 */
export async function findPlaceholder(options: FindOptions = {}): Promise<Placeholder | undefined> {
  const proc = options.proc ?? '/proc';
  const ours = await stat(options.binary ?? paths.placeholder);
  let newest: Placeholder | undefined;
  for (const pid of listPids(proc)) {
    const process = readProcess(pid, proc);
    if (process === undefined || process.parentPid !== 0 || process.state === 'Z') continue;
    if (!(await executesAsEntrypoint(`${proc}/${pid}`, ours))) continue;
    const isNewer = newest === undefined || BigInt(process.startTime) > BigInt(newest.startTime);
    if (isNewer) newest = { pid, startTime: process.startTime };
  }
  return newest;
}

/** True while this very process runs; a later one of the same pid does not count. */
export function placeholderLives(placeholder: Placeholder, proc = '/proc'): boolean {
  return exists(placeholder, proc);
}

async function executesAsEntrypoint(
  folder: string,
  ours: { readonly dev: number; readonly ino: number },
): Promise<boolean> {
  try {
    const executable = await stat(`${folder}/exe`);
    if (executable.dev !== ours.dev || executable.ino !== ours.ino) return false;
    const words = (await readFile(`${folder}/cmdline`, 'latin1')).split('\0');
    return words[1] === 'infinity';
  } catch (error) {
    if (hasVanished(error)) return false;
    throw error;
  }
}
