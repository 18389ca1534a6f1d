import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openStdio, readStdioLinks } from '../../agent/checkpoint/stdio.ts';
import { startChild } from '../../agent/criu/child.ts';
import { killTree, type Container, type Rig } from '../../test/integration/agent/criu/rig.ts';

/** The same as the agent's, where they say what is dumped. */
const dumpOptions = ['--tcp-close', '--skip-in-flight', '--file-locks', '--manage-cgroups=ignore'];
const restoreOptions = ['--tcp-close', '--file-locks', '--manage-cgroups=ignore'];

/** What restores a plain dump besides its files. */
export type StdioLinks = Awaited<ReturnType<typeof readStdioLinks>>;

async function criu(rig: Rig, dir: string, args: readonly string[], fds: readonly number[] = []): Promise<void> {
  const log = `${args[0]}.log`;
  const child = await startChild(rig.criu.command([...args, '-D', dir, '-o', log]), fds, 'CRIU_DUMP_FAILED');
  const end = await child.ended;
  if (end.exitCode === 0) return;
  const said = await readFile(join(dir, log), 'utf8').catch(() => end.stderr.join('\n'));
  const errors = said.split('\n').filter((line) => line.includes('Error'));
  throw new Error(`criu ${args[0]} exited with ${end.exitCode}: ${errors.slice(0, 5).join('; ')}`);
}

/** `criu dump` into a new folder. `after` says what becomes of the process. */
export async function plainDump(
  rig: Rig,
  pid: number,
  container: Container,
  dir: string,
  after: 'leave-running' | 'kill',
): Promise<StdioLinks> {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir);
  const links = await readStdioLinks(container.pid);
  await criu(rig, dir, [
    'dump',
    ...['-t', String(pid)],
    ...(after === 'kill' ? [] : ['--leave-running']),
    ...dumpOptions,
  ]);
  // It is dead, but its number is free only when its parent has been told.
  if (after === 'kill') await killTree(pid);
  return links;
}

/** `criu restore` of the folder, with another container's output; the process runs when it resolves. */
export async function plainRestore(rig: Rig, dir: string, links: StdioLinks, container: Container): Promise<void> {
  const stdio = await openStdio(container.pid, links, 3);
  try {
    const inherited = stdio.inherited.flatMap(({ fd, link }) => ['--inherit-fd', `fd[${fd}]:${link}`]);
    await criu(rig, dir, ['restore', '-d', ...restoreOptions, ...inherited], stdio.fds);
  } finally {
    await stdio.close();
  }
}
