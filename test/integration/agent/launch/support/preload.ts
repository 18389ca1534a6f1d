import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Programs } from './fixtures.ts';

const capSysResource = 24n;

/** What criu must preload here: the limits shim on a machine without CAP_SYS_RESOURCE. A path as seen from the agent's root. */
export function preload(agentRoot: string, programs: Programs): string | undefined {
  const capabilities = /^CapEff:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const isPresent = (BigInt(`0x${capabilities}`) & (1n << capSysResource)) !== 0n;
  return isPresent ? undefined : `/${relative(agentRoot, programs.limitsShim)}`;
}
