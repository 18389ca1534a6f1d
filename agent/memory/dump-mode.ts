/** `scan`: the agent reads the memory itself, ahead and in the freeze. `receive`: CRIU sends every page in the freeze. */
export type DumpMode = 'scan' | 'receive';

export interface MemoryUse {
  /** Private pages that were written, swapped ones included, whatever is mapped there. */
  readonly anonymousBytes: number;
  /** Those of them that the agent finds in private anonymous memory; undefined before it has looked. */
  readonly scannedBytes: number | undefined;
  readonly lockedBytes: number;
  readonly sharedBytes: number;
  /** How many files CRIU may have open. */
  readonly maxOpenFiles: number;
}

/** While the agent scans, CRIU writes all other pages to its folder, which is memory of the pod: this much may be there. */
const maxLocalBytes = 64 * 1024 * 1024;

/** CRIU opens a pipe for each MiB that it leaves to the agent, and other files besides. */
const filesOfMib = 2;
const otherFiles = 1_000;

/** Decides how to take the pages. CRIU leaves to the agent only private anonymous memory that is not locked. Pure. */
export function dumpMode(use: MemoryUse): DumpMode {
  const { anonymousBytes, scannedBytes, lockedBytes, sharedBytes } = use;
  const openFiles = (anonymousBytes / (1024 * 1024)) * filesOfMib + otherFiles;
  if (openFiles > use.maxOpenFiles) return 'receive';
  const mappedFilesBytes = scannedBytes === undefined ? 0 : Math.max(anonymousBytes - scannedBytes, 0);
  return mappedFilesBytes + lockedBytes + sharedBytes > maxLocalBytes ? 'receive' : 'scan';
}
