import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { heldCapabilities } from './capabilities.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../..', import.meta.url));
const witnessSource = fileURLToPath(new URL('witness.c', import.meta.url));
const shimPath = '/usr/lib/podferry/limits-shim.so';
const shim = [shimPath, 'hack/testbed/agent-shim/shim.c'] as const;
/** As agent/Dockerfile builds them. */
const libraries = ['criu-tmp', 'criu-undo'].map(
  (name) => [`/usr/lib/podferry/${name}.so`, `agent/image/${name}.c`] as const,
);

/** What all pods of a campaign share. */
export interface Ground {
  /** Of the pods, on tmpfs as their work volumes are. */
  readonly dir: string;
  /** The root file system of the agent's image, with the placeholder and the libraries of this checkout. */
  readonly agentRoot: string;
  /** The agent of this checkout, bundled as it is shipped. */
  readonly bundles: string;
  readonly placeholder: string;
  readonly witness: string;
  /** What criu must preload here, a path in agentRoot. */
  readonly preload: string | undefined;
  remove(): Promise<void>;
}

/** Why no pods can be made on this machine, or undefined when they can. */
export function whyNoPods(agentImage: string | undefined): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of ['crun', 'musl-gcc', 'gcc', 'setpriv', 'nsenter', 'unshare']) {
    const isThere = (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(join(dir, tool)));
    if (!isThere) return `needs ${tool}`;
  }
  if (agentImage === undefined || !existsSync(join(agentImage, 'usr/sbin/criu'))) {
    return 'needs the root of the agent image (PODFERRY_AGENT_ROOT, hack/testbed/agent-root.sh)';
  }
  return undefined;
}

/** Builds this checkout's programs for pods that are made from the root of an agent's image, which is left as it is. */
export async function prepareGround(agentImage: string): Promise<Ground> {
  const dir = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'podferry-chaos-'));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const at = (name: string): string => join(dir, name);
    const agentRoot = at('agent-root');
    const hasLimits = heldCapabilities().includes('CAP_SYS_RESOURCE');
    await mkdir(agentRoot);
    await Promise.all([
      run('cp', ['--archive', `${agentImage}/.`, agentRoot]),
      run(process.execPath, ['hack/bundle.mjs', at('bundles')], { cwd: repository }),
      run(join(repository, 'agent/launch/placeholder/build.sh'), [at('placeholder')]),
      run('musl-gcc', ['-O2', '-static', '-pthread', '-o', at('witness'), witnessSource]),
    ]);
    for (const point of ['.podferry', 'work', 'app', 'run', 'tmp', 'var/run/secrets/podferry']) {
      await mkdir(join(agentRoot, point), { recursive: true });
    }
    await cp(at('placeholder'), join(agentRoot, 'usr/local/bin/podferry-sleep'));
    const headers = join(repository, 'agent/launch/placeholder');
    for (const [library, source] of [...libraries, ...(hasLimits ? [] : [shim])])
      await run('gcc', [
        '-shared',
        '-fPIC',
        '-O2',
        '-I',
        headers,
        '-o',
        join(agentRoot, library),
        join(repository, source),
      ]);
    return {
      dir,
      agentRoot,
      bundles: at('bundles'),
      placeholder: at('placeholder'),
      witness: at('witness'),
      preload: hasLimits ? undefined : shimPath,
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
