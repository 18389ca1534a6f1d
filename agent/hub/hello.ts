import { readFile } from 'node:fs/promises';
import { machine, release } from 'node:os';
import { kernelLacks } from '../preflight/kernel.ts';
import type { Hello } from '../../proto/gen/agent/v1/agent.ts';

/** The flags of the first CPU, sorted; what a restore on another node must find there. Empty when the kernel lists none. */
export function cpuFlags(cpuinfo: string): readonly string[] {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  return line
    .split(/\s+/)
    .filter((flag) => flag !== '')
    .toSorted();
}

/** The first message of a stream: what this agent and its node are. */
export async function hello(agentVersion: string, criuVersion: string): Promise<Hello> {
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8');
  return {
    agentVersion,
    criuVersion,
    kernelRelease: release(),
    machine: machine(),
    cpuFlags: [...cpuFlags(cpuinfo)],
    kernelLacks: [...kernelLacks()],
  };
}
