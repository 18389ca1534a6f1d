import { readdirSync, readFileSync, readlinkSync, statfsSync, statSync, type Stats } from 'node:fs';
import { hasVanished } from '../launch/proc-stat.ts';
import type { FileKind, HeldFile } from './facts.ts';

/** Of a mapping that is not of ordinary pages. @see statfs(2) HUGETLBFS_MAGIC */
const hugePagesFs = 0x958458f6;

/** Kinds of open files that tell in /proc/PID/fdinfo what they are about. */
const telling = /^anon_inode:(?:inotify|\[pidfd\])|^pidfd:/;

/** Names of memory that has no file, though the kernel keeps it in one. */
const nameless = /^\/(?:memfd:|SYSV[0-9a-f]{8}|secretmem|anon_hugepage|dev\/zero \(deleted\)|\[aio\])/;

/** Reads it, or undefined when the process, or what it had open, is gone meanwhile or cannot be followed. */
function read<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (hasVanished(error) || (error instanceof Error && 'code' in error && error.code === 'ENXIO')) return undefined;
    throw error;
  }
}

/** What a process holds open, and what it has mapped. Empty once it has ended. */
export function filesOf(pid: number, proc = '/proc'): readonly HeldFile[] {
  return [...openFiles(pid, proc), ...mappedFiles(pid, proc)];
}

function openFiles(pid: number, proc: string): readonly HeldFile[] {
  const folder = `${proc}/${pid}`;
  const numbers = read(() => readdirSync(`${folder}/fd`)) ?? [];
  return numbers.flatMap((fd): HeldFile[] => {
    const link = read(() => readlinkSync(`${folder}/fd/${fd}`));
    const text = link === undefined ? undefined : read(() => readFileSync(`${folder}/fdinfo/${fd}`, 'latin1'));
    if (link === undefined || text === undefined) return [];
    const file: HeldFile = {
      pid,
      where: `fd ${fd}`,
      link,
      mountId: Number(/^mnt_id:\s*(\d+)/m.exec(text)?.[1] ?? 0),
      ...(telling.test(link) ? { info: text } : {}),
    };
    return [link.startsWith('/') ? { ...file, is: kindOf(link, `${folder}/fd/${fd}`, `${folder}/root`) } : file];
  });
}

/** One for each name that is mapped; only what may be in the way is looked at closely. */
function mappedFiles(pid: number, proc: string): readonly HeldFile[] {
  const maps = read(() => readFileSync(`${proc}/${pid}/maps`, 'latin1')) ?? '';
  const first = new Map<string, string>();
  for (const [, range = '', link = ''] of maps.matchAll(/^(\S+) \S+ \S+ \S+ \S+ +(\/.*)$/gm)) {
    if (!first.has(link)) first.set(link, range);
  }
  return Array.from(first, ([link, range]) => {
    const isOrdinary = !link.startsWith('/dev/') && !link.endsWith(' (deleted)') && !link.includes('huge');
    const at = `${proc}/${pid}/map_files/${range.replaceAll(/(^|-)0+(?=[0-9a-f])/g, '$1')}`;
    return { pid, where: 'mapped', link, ...(isOrdinary ? {} : { is: kindOf(link, at, `${proc}/${pid}/root`) }) };
  });
}

function kindOf(link: string, path: string, root: string): FileKind | undefined {
  const status = read(() => statSync(path));
  if (status === undefined) return undefined;
  const isNameless = nameless.test(link);
  return {
    type: typeOf(status),
    ...deviceOf(status.rdev),
    // what never had a name cannot lose it
    names: isNameless ? 1 : status.nlink,
    bytes: status.blocks * 512,
    hasLostName: !isNameless && link.endsWith(' (deleted)') && read(() => statSync(root + link)) === undefined,
    isHuge: status.isFile() && read(() => statfsSync(path).type) === hugePagesFs,
  };
}

function typeOf(status: Stats): FileKind['type'] {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'directory';
  if (status.isCharacterDevice()) return 'character device';
  return status.isBlockDevice() ? 'block device' : 'other';
}

/** @see makedev(3) of glibc */
function deviceOf(rdev: number): { readonly major: number; readonly minor: number } {
  const device = BigInt(rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffffffffn);
  return { major: Number(major), minor: Number(minor) };
}

/** The process that traces a thread of this one; 0: none. */
export function tracerOf(pid: number, proc = '/proc'): number {
  const threads = read(() => readdirSync(`${proc}/${pid}/task`)) ?? [];
  for (const thread of threads) {
    const tracer = Number(statusField(`${proc}/${pid}/task/${thread}`, 'TracerPid') ?? 0);
    if (tracer !== 0) return tracer;
  }
  return 0;
}

function statusField(folder: string, field: string): string | undefined {
  const text = read(() => readFileSync(`${folder}/status`, 'latin1')) ?? '';
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1];
}

/**
 * The threads that are in the kernel now and cannot be stopped there, each with how often it has slept: the same name seen again
 * later is a thread that has been there all the time.
 */
export function unstoppable(pid: number, proc = '/proc'): readonly string[] {
  const threads = read(() => readdirSync(`${proc}/${pid}/task`)) ?? [];
  return threads.flatMap((thread) => {
    const folder = `${proc}/${pid}/task/${thread}`;
    if (statusField(folder, 'State')?.startsWith('D') !== true) return [];
    return [`${thread} ${statusField(folder, 'voluntary_ctxt_switches') ?? ''}`];
  });
}

/** The namespaces of a process by kind; empty once it has ended. */
export function namespacesOf(pid: number, proc = '/proc'): Readonly<Record<string, string>> {
  const folder = `${proc}/${pid}/ns`;
  const kinds = read(() => readdirSync(folder)) ?? [];
  const links = kinds.map((kind) => [kind, read(() => readlinkSync(`${folder}/${kind}`))] as const);
  return Object.fromEntries(links.flatMap(([kind, link]) => (link === undefined ? [] : [[kind, link]])));
}
