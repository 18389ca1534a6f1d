import { closeSync, constants, openSync, readSync } from 'node:fs';
import { channelFds } from './channel-message.ts';
import type { Placeholder } from './placeholder.ts';
import { hasVanished } from './proc-stat.ts';

/** `running`: not yet; `killed`: without a word of its own. */
export type End = 'running' | 'killed' | { readonly exitCode: number };

/** How a container ends, kept open while it runs: afterwards nobody in the pod could find out. */
export interface LastWord {
  /** May be asked again after `running` only. */
  read(): End;
  close(): void;
}

/** @returns undefined when the placeholder has ended already */
export function openLastWord({ pid }: Placeholder, proc = '/proc'): LastWord | undefined {
  let fd: number;
  try {
    fd = openSync(`${proc}/${pid}/fd/${channelFds.endRead}`, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (hasVanished(error)) return undefined;
    throw error;
  }
  return {
    read() {
      const word = Buffer.alloc(4);
      try {
        return readSync(fd, word) === word.length ? { exitCode: word.readInt32LE() } : 'killed';
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 'running';
        throw error;
      }
    },
    close: () => closeSync(fd),
  };
}
