import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { PodferryError } from '../../proto/errors.ts';
import { inAgentNamespace, programs } from './app-namespace.ts';
import { parseMountinfo, type Mount } from './mounts.ts';
import { runProgram } from './run-program.ts';

/** One line of /proc/PID/cgroup. */
export interface CgroupMembership {
  /** v1 controllers, `name=systemd` for a named hierarchy; empty for the unified (v2) hierarchy. */
  readonly controllers: readonly string[];
  /** Path from the root of the hierarchy. */
  readonly path: string;
}

export interface CgroupOptions {
  /** Where hierarchies are mounted that the container does not show whole. */
  readonly mountDir?: string;
  /** The agent's own root: '' in its container. */
  readonly agentRoot?: string;
}

const mountDeadlineMs = 5_000;

/** Parses /proc/PID/cgroup. @see cgroups(7) */
export function parseCgroups(text: string): CgroupMembership[] {
  return text.split('\n').flatMap((line) => {
    const fields = /^\d+:([^:]*):(.*)$/.exec(line);
    if (fields === null) return [];
    const [, controllers = '', path = ''] = fields;
    return [{ controllers: controllers === '' ? [] : controllers.split(','), path }];
  });
}

/** The mounts that show the hierarchy from its root. */
export function wholeMountsOf(membership: CgroupMembership, mounts: readonly Mount[]): readonly Mount[] {
  const isUnified = membership.controllers.length === 0;
  return mounts.filter((mount) => {
    if (mount.root !== '/') return false;
    if (isUnified) return mount.fsType === 'cgroup2';
    return mount.fsType === 'cgroup' && membership.controllers.every((name) => mount.superOptions.includes(name));
  });
}

/**
 * The cgroup.procs files, as the agent sees them, of every hierarchy in which `pid` sits elsewhere than the agent itself.
 * Writing a pid to each puts that process where `pid` is: v1, v2 and both side by side (hybrid). Under v1 a container is shown its own
 * part of each hierarchy only; what is missing is mounted, in the agent's mount namespace.
 * @throws PodferryError CGROUP_UNREACHABLE when a hierarchy cannot be seen from its root: the agent is not privileged, or has
 *   a cgroup namespace of its own
 */
export async function cgroupProcsFiles(pid: number, options: CgroupOptions = {}): Promise<readonly string[]> {
  // Without other threads, which take longer to be woken than the kernel to answer: a restore waits for this.
  const theirs = readMemberships(String(pid));
  const ours = readMemberships('self');
  const mounts = parseMountinfo(readFileSync('/proc/self/mountinfo', 'latin1'));
  const files: string[] = [];
  for (const membership of theirs) {
    const own = ours.find((candidate) => candidate.controllers.join() === membership.controllers.join());
    if (own?.path === membership.path) continue;
    files.push(await procsFile(pid, membership, mounts, options));
  }
  return files;
}

function readMemberships(pid: string): CgroupMembership[] {
  try {
    return parseCgroups(readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
  } catch (cause) {
    throw new PodferryError('CGROUP_UNREACHABLE', `cannot read the cgroups of pid ${pid}`, { pid }, { cause });
  }
}

async function procsFile(
  pid: number,
  membership: CgroupMembership,
  mounts: readonly Mount[],
  options: CgroupOptions,
): Promise<string> {
  for (const mount of wholeMountsOf(membership, mounts)) {
    const file = `${mount.point}${membership.path}/cgroup.procs`;
    if (lists(file, pid)) return file;
  }
  const point = await mountHierarchy(membership, options);
  const file = `${point}${membership.path}/cgroup.procs`;
  if (lists(file, pid)) return file;
  throw new PodferryError('CGROUP_UNREACHABLE', `pid ${pid} is not in ${file}`, {
    pid,
    path: membership.path,
    controllers: membership.controllers.join(),
  });
}

/** The proof that a path means the same place for us as for the kernel that named it. */
function lists(file: string, pid: number): boolean {
  try {
    return readFileSync(file, 'utf8').split('\n').includes(String(pid));
  } catch {
    return false; // no such path below this mount, whatever the reason: another mount may show it
  }
}

async function mountHierarchy(membership: CgroupMembership, options: CgroupOptions): Promise<string> {
  const name = membership.controllers.join(',').replace('name=', '') || 'unified';
  const point = `${options.mountDir ?? '/run/podferry/cgroup'}/${name}`;
  await mkdir(point, { recursive: true });
  const isNamed = membership.controllers.some((controller) => controller.startsWith('name='));
  const args =
    membership.controllers.length === 0
      ? ['-t', 'cgroup2', 'none', point]
      : ['-t', 'cgroup', '-o', `${isNamed ? 'none,' : ''}${membership.controllers.join(',')}`, 'none', point];
  const command = inAgentNamespace({ agentRoot: options.agentRoot ?? '', program: programs.mount, args });
  await runProgram(`mounting the cgroup hierarchy ${name}`, command, 'CGROUP_UNREACHABLE', mountDeadlineMs);
  return point;
}
