import { paths } from '../../proto/names.ts';

/** A program to spawn: `spawn(file, args, { env })`. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** How the agent reaches the application's container. */
export interface AppPlace {
  readonly placeholderPid: number;
  /** The agent's root file system as seen from inside the application's mount namespace: `/proc/<agent's pid>/root`. */
  readonly agentRoot: string;
}

export interface ProgramCall {
  /** One of `programs`. */
  readonly program: string;
  readonly args: readonly string[];
  /** Library to load into the program, a path inside the agent's root. Only test machines need one. */
  readonly preload?: string | undefined;
}

/** The programs of the agent's image that it runs. */
export const programs = {
  criu: '/usr/sbin/criu',
  nsenter: '/usr/bin/nsenter',
  mount: '/usr/bin/mount',
  tar: '/usr/bin/tar',
  find: '/usr/bin/find',
  xargs: '/usr/bin/xargs',
  rm: '/usr/bin/rm',
} as const;

/** Made by the Dockerfile, the first three by image/patch-loader.sh. */
const image = {
  loader: '/usr/lib/podferry/loader',
  libraries: '/usr/lib/podferry/lib',
  noPlugins: '/usr/lib/podferry/no-plugins',
  /** image/criu-tmp.c, criu-leave.c and criu-undo.c */
  criuPreloads: ['criu-tmp', 'criu-leave', 'criu-undo'].map((name) => `/usr/lib/podferry/${name}.so`),
} as const;

/** Nothing is found through PATH, in any language of messages, and no variable of the agent gets near the application. */
const environment = { PATH: '/proc/none', LC_ALL: 'C' } as const;

/**
 * A program of the agent, run in the mount, IPC and UTS namespaces of the application with the agent's own power.
 *
 * The application may own every file it sees there, so nothing of its root file system is executed or loaded: the program is started by
 * the agent's own dynamic loader, a copy that ignores the preload file, the library cache and the system's library
 * folders, and PATH names a folder that cannot exist. Paths in `args` are as the application sees them; the agent's own
 * need `agentRoot` before them. The working directory is the application's root, entered from inside (`--wdns`): a
 * directory of the agent's would be a mount that CRIU cannot find.
 */
export function inAppNamespace(call: AppPlace & ProgramCall): Command {
  const { agentRoot, placeholderPid } = call;
  const enter = ['--target', String(placeholderPid), '--mount', '--ipc', '--uts', '--wdns=/', '--'];
  const args = [...enter, ...loaderArgv(agentRoot, call)];
  return { ...inAgentNamespace({ agentRoot, program: programs.nsenter, args }), env: environmentOf(call) };
}

/** The same program in the agent's own namespaces. */
export function inAgentNamespace(call: { readonly agentRoot: string } & ProgramCall): Command {
  const [file, ...args] = loaderArgv(call.agentRoot, call);
  return { file, args, env: environmentOf(call) };
}

/** CRIU is told where it keeps what it knows of the kernel (image/criu-tmp.c). */
function environmentOf({ agentRoot, program }: { readonly agentRoot: string } & ProgramCall): Command['env'] {
  if (program !== programs.criu) return environment;
  return { ...environment, PODFERRY_CRIU_CACHE: `${agentRoot}${paths.work}/criu.kdat` };
}

/** The words that start a program of the agent by its loader, wherever `agentRoot` is visible. */
export function loaderArgv(agentRoot: string, call: ProgramCall): [string, ...string[]] {
  const preloads = [...(call.program === programs.criu ? image.criuPreloads : []), ...(call.preload ?? '').split(' ')];
  const preload = preloads.filter((path) => path !== '').map((path) => `${agentRoot}${path}`);
  return [
    `${agentRoot}${image.loader}`,
    ...(preload.length === 0 ? [] : ['--preload', preload.join(' ')]),
    '--library-path',
    `${agentRoot}${image.libraries}`,
    `${agentRoot}${call.program}`,
    ...call.args,
  ];
}

/**
 * Options of every criu call: without them it reads /etc/criu/default.conf, which may name action scripts, and loads
 * /usr/lib/criu/*.so, both in the application's root.
 */
export function criuSafeArgs(agentRoot: string): readonly string[] {
  return ['--no-default-config', '--libdir', `${agentRoot}${image.noPlugins}`];
}
