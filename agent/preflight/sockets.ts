import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { PodferryError } from '../../proto/errors.ts';
import type { Facts, SocketFacts } from './facts.ts';

const run = promisify(execFile);
const mostBytes = 64 * 1024 * 1024;

/**
 * What the processes have for sockets, and who is connected with whom in their network namespace.
 * @param binary the placeholder (launch/placeholder/sockets.c)
 * @throws PodferryError KERNEL_UNSUPPORTED when the kernel does not tell
 */
export async function socketsOf(
  binary: string,
  pids: readonly number[],
  deadlineMs: number,
): Promise<Pick<Facts, 'sockets' | 'peers'>> {
  try {
    const options = { timeout: deadlineMs, killSignal: 'SIGKILL', maxBuffer: mostBytes } as const;
    return parseSockets((await run(binary, ['sockets', ...pids.map(String)], options)).stdout);
  } catch (error) {
    const why = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const message = `the sockets of the application cannot be listed: ${why || String(error)}`;
    throw new PodferryError('KERNEL_UNSUPPORTED', message, {}, { cause: error });
  }
}

/** Reads the lines of the program's output; others are passed over. */
export function parseSockets(text: string): Pick<Facts, 'sockets' | 'peers'> {
  const sockets = Array.from(
    text.matchAll(/^socket (\d+) (\d+) (\d+) (\S+)$/gm),
    ([, pid, fd, inode, kind = '']): SocketFacts => ({ pid: Number(pid), fd: Number(fd), inode: Number(inode), kind }),
  );
  const peers = Array.from(text.matchAll(/^peer (\d+) (\d+)$/gm), ([, inode, peer]): readonly [number, number] => [
    Number(inode),
    Number(peer),
  ]);
  return { sockets, peers: new Map(peers) };
}
