import { readdir, readFile, readlink } from 'node:fs/promises';
import type { ErrorCode } from '../../proto/errors.ts';
import { applicationTree } from '../launch/process-tree.ts';

/** What an open file's link in /proc/PID/fd, or a mapping's path in /proc/PID/maps, looks like when CRIU 4.2 cannot checkpoint it. */
const refused: readonly { readonly link: RegExp; readonly code: ErrorCode }[] = [
  { link: /^anon_inode:\[io_uring\]$/, code: 'IO_URING_IN_USE' },
  { link: /^\/dev\/(?:pts\/\d+|console|tty\d*)$/, code: 'TERMINAL_IN_USE' },
  { link: /^\/dev\/(?:nvidia|dri\/|kfd)/, code: 'GPU_IN_USE' },
  { link: /^\/memfd_secret|^\/secretmem/, code: 'MEMFD_SECRET_IN_USE' },
  // It belongs to the IPC namespace, which is the pod's and not the application's to take along.
  { link: /^\/SYSV[0-9a-f]{8}/, code: 'SYSV_MEMORY_IN_USE' },
];

/** The codes for a list of links; each once. Pure. */
export function refusals(links: readonly string[]): readonly ErrorCode[] {
  return refused.filter(({ link }) => links.some((l) => link.test(l))).map(({ code }) => code);
}

async function linksOf(pid: number): Promise<readonly string[]> {
  const folder = `/proc/${pid}/fd`;
  const numbers = await readdir(folder);
  const links = await Promise.allSettled(numbers.map((number) => readlink(`${folder}/${number}`)));
  return links.flatMap((link) => (link.status === 'fulfilled' ? [link.value] : [])); // closed meanwhile: not open any more
}

/** The paths of what a process has mapped; anonymous memory has none. */
async function mappingsOf(pid: number): Promise<readonly string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1');
  return [...new Set(Array.from(maps.matchAll(/^\S+ \S+ \S+ \S+ \S+ +(\/.*)$/gm), ([, path = '']) => path))];
}

/**
 * Why the application cannot be moved as it is now; empty when nothing speaks against it.
 * @throws PodferryError APP_NOT_RUNNING
 */
export async function preflightReasons(appPid: number | undefined): Promise<readonly ErrorCode[]> {
  if (appPid === undefined) return ['APP_NOT_RUNNING'];
  const { processes } = applicationTree(appPid);
  const links = await Promise.allSettled(processes.flatMap(({ pid }) => [linksOf(pid), mappingsOf(pid)]));
  return refusals(links.flatMap((found) => (found.status === 'fulfilled' ? found.value : [])));
}
