import { readFileSync } from 'node:fs';
import { hasVanished } from '../launch/proc-stat.ts';
import { parseAddressSpace, parseMemoryUse } from './address-space.ts';
import type { MemoryUse } from './dump-mode.ts';

/** What the processes use now, in all; shared memory counts for each that maps it. Those that have ended count nothing. */
export function readMemoryUse(pids: readonly number[], scannedBytes: number | undefined): MemoryUse {
  const sum = { anonymousBytes: 0, lockedBytes: 0, sharedBytes: 0 };
  for (const pid of pids) {
    try {
      const { anonymous, locked } = parseMemoryUse(readFileSync(`/proc/${pid}/status`, 'latin1'));
      sum.sharedBytes += parseAddressSpace(readFileSync(`/proc/${pid}/maps`, 'latin1')).sharedBytes;
      sum.anonymousBytes += anonymous;
      sum.lockedBytes += locked;
    } catch (error) {
      if (!hasVanished(error)) throw error;
    }
  }
  return { ...sum, scannedBytes, maxOpenFiles: parseMaxOpenFiles(readFileSync('/proc/self/limits', 'latin1')) };
}

/** The hard limit in /proc/PID/limits: node raises its own, which children inherit, up to it. Pure. */
export function parseMaxOpenFiles(limits: string): number {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard ?? 0);
}
