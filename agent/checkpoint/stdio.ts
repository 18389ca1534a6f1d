import { open, readlink, type FileHandle } from 'node:fs/promises';
import { PodferryError } from '../../proto/errors.ts';
import type { InheritedFd } from '../criu/restore.ts';
import type { StdioLink } from '../store/manifest.ts';

const isPipe = (link: string): boolean => /^pipe:\[\d+\]$/.test(link);

/**
 * What the container runtime gave a container as input, output and error, as far as it is pipes: these lead out of the tree
 * and are replaced at the restore. They are read from the container's first process: the application may have put pipes of its own there.
 * @throws PodferryError PLACEHOLDER_MISSING when that process is gone
 */
export async function readStdioLinks(pid: number): Promise<StdioLink[]> {
  const links: StdioLink[] = [];
  for (const fd of [0, 1, 2] as const) {
    let link: string;
    try {
      link = await readlink(`/proc/${pid}/fd/${fd}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && (await exists(pid))) continue;
      throw missing(pid, error);
    }
    if (isPipe(link)) links.push({ fd, link });
  }
  return links;
}

async function exists(pid: number): Promise<boolean> {
  try {
    await readlink(`/proc/${pid}/exe`);
    return true;
  } catch {
    // Gone, or a zombie: both have no standard output any more.
    return false;
  }
}

const missing = (pid: number, cause: unknown): PodferryError =>
  new PodferryError('PLACEHOLDER_MISSING', `process ${pid} of the container is gone`, { pid }, { cause });

/** Standard input, output and error of another container, open in this process. */
export interface OpenStdio {
  /** Pass these to CRIU from fd `firstFd` on. */
  readonly fds: readonly number[];
  readonly inherited: readonly InheritedFd[];
  close(): Promise<void>;
}

/**
 * Opens the target's counterparts of the source's pipes.
 * @param firstFd which number the first one will have in CRIU
 * @throws PodferryError PLACEHOLDER_MISSING
 */
export async function openStdio(pid: number, links: readonly StdioLink[], firstFd: number): Promise<OpenStdio> {
  const files: FileHandle[] = [];
  const inherited: InheritedFd[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map((file) => file.close()));
  };
  // Output and error are often the same pipe; CRIU takes each once.
  const distinct = links.filter(({ link }, i) => links.findIndex((other) => other.link === link) === i);
  for (const { fd, link } of distinct) {
    try {
      files.push(await open(`/proc/${pid}/fd/${fd}`, fd === 0 ? 'r' : 'w'));
    } catch (error) {
      await close();
      throw missing(pid, error);
    }
    inherited.push({ fd: firstFd + inherited.length, link });
  }
  return { fds: files.map((file) => file.fd), inherited, close };
}
