import { execFile } from 'node:child_process';
import { readdir, readFile, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { testbedCommand } from './suite.ts';

const run = promisify(execFile);

/** `testbed.sh ARGS`: hurting nodes and the store, which only our own test bed allows. */
export async function testbed(...args: readonly string[]): Promise<string> {
  const command = testbedCommand();
  if (command === undefined) throw new Error('no test bed');
  return (await run(command, args, { timeout: 120_000 })).stdout;
}

/** Host pid of the agent of a pod: the nodes of the test bed share the host's pid namespace. */
export async function agentPid(podUid: string): Promise<number> {
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [command, cgroup] = await Promise.all([
        readFile(`/proc/${name}/cmdline`, 'utf8'),
        readFile(`/proc/${name}/cgroup`, 'utf8'),
      ]);
      if (command.includes('agent.mjs') && cgroup.includes(podUid)) return Number(name);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH')))
        throw error; // ended meanwhile
    }
  }
  throw new Error(`no agent process of pod ${podUid} on this machine`);
}

/** Resident memory in bytes: the agent's own, without the pages of files on its work volume. */
export async function residentBytes(pid: number): Promise<number> {
  const kib = /^RssAnon:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) * 1024;
}

/** Bytes in use on the agent's work volume (a tmpfs of its own). */
export async function workVolumeBytes(pid: number): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(`/proc/${pid}/root/work`);
  return (blocks - bfree) * bsize;
}

/** Bytes that the process has caused to be written to disk. */
export async function diskBytesWritten(pid: number): Promise<number> {
  return Number(/^write_bytes: (\d+)/m.exec(await readFile(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
}

/** TCP ports on which anything listens in the network namespace of the process, IPv4 and IPv6. */
export async function listeningPorts(pid: number): Promise<readonly number[]> {
  const tables = await Promise.all(['tcp', 'tcp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8')));
  const listening = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm;
  return tables
    .flatMap((table) => [...table.matchAll(listening)].map(([, port]) => Number.parseInt(port ?? '', 16)))
    .toSorted((a, b) => a - b);
}
