import { pageBytes } from '../pages/page-size.ts';

/** Neighbouring pages of a process: first page number (address / pageBytes) and the one after the last. */
export interface PageRange {
  readonly from: number;
  readonly to: number;
}

/** The same pages in ranges that ascend and are disjoint; what lies between two that are no further apart than the gap is taken in. Pure. */
export function joinRanges(ranges: readonly PageRange[], gapPages = 0): PageRange[] {
  const list: PageRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = list.at(-1);
    if (last === undefined || range.from > last.to + gapPages) list.push(range);
    else list[list.length - 1] = { from: last.from, to: Math.max(last.to, range.to) };
  }
  return list;
}

export interface AddressSpace {
  /**
   * Private anonymous memory: what CRIU calls lazy. Ascending. Without what nobody may access: runtimes reserve many GiB of it, which it
   * takes long to find empty; should there be pages in it, CRIU names them.
   */
  readonly lazy: readonly PageRange[];
  /** Those parts of it that hold code: while CRIU prepares a dump it may change some of it, and put it back. */
  readonly code: readonly PageRange[];
  /** Size of mapped shared memory, which CRIU writes to its own files. */
  readonly sharedBytes: number;
}

/** Mappings of the kernel's own, which are no memory of the process. */
const kernelNames = new Set(['[vdso]', '[vvar]', '[vvar_vclock]', '[vsyscall]', '[uprobes]']);
const line = /^([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+) *(.*)$/;
const sharedMemory = /^\/(?:dev\/zero|SYSV|memfd:)/;

const pageOf = (hex: string | undefined): number => Number(BigInt(`0x${hex ?? '0'}`) / BigInt(pageBytes));

/** Reads /proc/PID/maps. Pure. Lines that are none are passed over. @see proc_pid_maps(5) */
export function parseAddressSpace(maps: string): AddressSpace {
  const lazy: PageRange[] = [];
  const code: PageRange[] = [];
  let sharedBytes = 0;
  for (const text of maps.split('\n')) {
    const [, start, end, rights = '', device, inode, name = ''] = line.exec(text) ?? [];
    if (start === undefined || kernelNames.has(name)) continue;
    const range = { from: pageOf(start), to: pageOf(end) };
    if (rights.endsWith('s')) {
      if (sharedMemory.test(name)) sharedBytes += (range.to - range.from) * pageBytes;
    } else if (inode === '0' && device === '00:00' && !rights.startsWith('---')) {
      lazy.push(range);
      if (rights.charAt(2) === 'x') code.push(range);
    }
  }
  return { lazy, code, sharedBytes };
}

/** What of /proc/PID/status counts here, in bytes; 0 for a process without memory. */
export function parseMemoryUse(status: string): { readonly anonymous: number; readonly locked: number } {
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { anonymous: field('RssAnon') + field('VmSwap'), locked: field('VmLck') };
}
