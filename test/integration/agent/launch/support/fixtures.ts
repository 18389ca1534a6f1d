/** What the launch tests need of the machine, and the programs they build from the C sources beside this file. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

const here = import.meta.dirname;
export const repository = join(here, '../../../../..');

export interface Programs {
  readonly dir: string;
  readonly placeholder: string;
  readonly app: string;
  readonly evilLibrary: string;
  readonly evilProgram: string;
  /** Answers prlimit on machines without CAP_SYS_RESOURCE; see hack/testbed/agent-shim. */
  readonly limitsShim: string;
}

/** Builds everything into a new folder; remove it with `removePrograms`. */
export function buildPrograms(): Programs {
  const dir = mkdtempSync(join(tmpdir(), 'podferry-launch-'));
  const built = (name: string): string => join(dir, name);
  const compile = (compiler: string, args: readonly string[]): void =>
    void execFileSync(compiler, ['-Wall', '-Wextra', '-Werror', '-Os', ...args]);
  execFileSync(join(repository, 'agent/launch/placeholder/build.sh'), [built('placeholder')]);
  compile('musl-gcc', ['-static', '-o', built('app'), join(here, 'app.c')]);
  const evil = join(here, 'evil.c');
  compile('gcc', ['-static', '-nostdlib', '-DPROGRAM', '-o', built('evil'), evil]);
  compile('gcc', ['-shared', '-fPIC', '-nostdlib', '-o', built('evil.so'), evil]);
  const shim = join(repository, 'hack/testbed/agent-shim/shim.c');
  compile('gcc', ['-shared', '-fPIC', '-o', built('shim.so'), shim]);
  return {
    dir,
    placeholder: built('placeholder'),
    app: built('app'),
    evilLibrary: built('evil.so'),
    evilProgram: built('evil'),
    limitsShim: built('shim.so'),
  };
}

export function removePrograms(programs: Programs | undefined): void {
  if (programs !== undefined) rmSync(programs.dir, { recursive: true });
}

/** The agent's root file system of hack/testbed/agent-root.sh, or undefined. */
export function agentRootDir(): string | undefined {
  const given = process.env['PODFERRY_AGENT_ROOT'];
  if (given !== undefined) return given;
  const cache = process.env['PODFERRY_CACHE'] ?? join(homedir(), '.cache/podferry');
  if (!existsSync(cache)) return undefined;
  const roots = readdirSync(cache)
    .filter((name) => name.startsWith('agent-root-'))
    .map((name) => join(cache, name));
  return roots.sort((a, b) => statSync(b).ctimeMs - statSync(a).ctimeMs)[0];
}

/** Why these tests cannot run here, or undefined. */
export function missingForPods(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of ['crun', 'musl-gcc', 'gcc', 'nsenter', 'unshare']) {
    const found = (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(join(dir, tool)));
    if (!found) return `needs ${tool}`;
  }
  return undefined;
}
