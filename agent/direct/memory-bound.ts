import { readFile } from 'node:fs/promises';

export interface MemoryFacts {
  /** Of the node, for new allocations. */
  readonly availableBytes: number;
  /** Of our own control group; undefined: none. */
  readonly limitBytes: number | undefined;
  readonly usedBytes: number;
}

/** The application itself comes to this node as well, and the node must have room for both. */
const shareOfNode = 0.4;
const shareOfLimit = 0.75;
/** Of our own limit, for the restore itself: its packs, CRIU and its images. */
const reservedBytes = 256 * 1024 * 1024;
/** When the kernel does not say. */
const defaultBytes = 1024 ** 3;

/** How much a target may keep of what its source sends. */
export function memoryBound({ availableBytes, limitBytes, usedBytes }: MemoryFacts): number {
  const own = limitBytes === undefined ? Number.POSITIVE_INFINITY : Math.max(0, limitBytes - usedBytes - reservedBytes);
  return Math.floor(Math.min(shareOfNode * availableBytes, shareOfLimit * own));
}

/** MemAvailable in bytes, from the text of /proc/meminfo. */
export function availableBytesOf(meminfo: string): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1];
  return kib === undefined ? defaultBytes : Number(kib) * 1024;
}

export async function readMemoryBound(): Promise<number> {
  const availableBytes = availableBytesOf(await readFile('/proc/meminfo', 'utf8'));
  // without a limit it is 0, or (cgroup v1) more than any machine has
  const limit = process.constrainedMemory();
  const hasLimit = limit > 0 && limit < Number.MAX_SAFE_INTEGER;
  return memoryBound({
    availableBytes,
    limitBytes: hasLimit ? limit : undefined,
    usedBytes: process.memoryUsage.rss(),
  });
}
