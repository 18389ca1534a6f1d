import type { Criu } from '../criu/command.ts';
import { criuSafeArgs, inAgentNamespace, inAppNamespace, programs } from '../launch/app-namespace.ts';

/** criu inside the application's namespaces: dump and restore. The agent's files are reached through agentRoot. */
export function criuInApp(placeholderPid: number, agentRoot: string, preload: string | undefined): Criu {
  return {
    command: (args) =>
      inAppNamespace({
        placeholderPid,
        agentRoot,
        program: programs.criu,
        args: [...args, ...criuSafeArgs(agentRoot)],
        preload,
      }),
    pathFor: (path) => agentRoot + path,
  };
}

/** criu beside the agent: the version check, and paths for a restore. */
export function criuInAgent(agentRoot: string, preload: string | undefined): Criu {
  return {
    command: (args) =>
      inAgentNamespace({ agentRoot, program: programs.criu, args: [...args, ...criuSafeArgs(agentRoot)], preload }),
    pathFor: (path) => agentRoot + path,
  };
}
