import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { Original } from '../proto/injection.ts';
import { agentEnv, paths } from '../proto/names.ts';

/** A JSON text in an environment variable, parsed by the schema. */
function json<T extends z.ZodType>(schema: T) {
  return z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text) as unknown;
      } catch (error) {
        context.addIssue({
          code: 'custom',
          message: `no JSON: ${error instanceof Error ? error.message : String(error)}`,
        });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const Environment = z.object({
  [agentEnv.operator]: z.string().regex(/^.+:\d+$/, 'must be host:port'),
  [agentEnv.ca]: z.string().includes('BEGIN CERTIFICATE'),
  [agentEnv.serverName]: z.string().min(1),
  [agentEnv.original]: json(Original),
  [agentEnv.restore]: z.string().default(''),
  [agentEnv.dataDirs]: json(z.array(z.string().startsWith('/'))).default([]),
  [agentEnv.leavesWith]: z.enum(['Never', 'OnFailure']).optional(),
  [agentEnv.podName]: z.string().min(1),
  [agentEnv.podNamespace]: z.string().min(1),
  PODFERRY_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  PODFERRY_CRIU_PRELOAD: z.string().startsWith('/').optional(),
});

/** Of pods that complete. */
export type RestartPolicy = 'Never' | 'OnFailure';

export interface Config {
  readonly operator: string;
  readonly ca: string;
  readonly serverName: string;
  readonly original: Original;
  /** uid of the Migration that this pod is the target of; undefined in an ordinary pod. */
  readonly restoreFor: string | undefined;
  readonly dataDirs: readonly string[];
  /** The pod's restart policy, in a pod that completes only without the agent. */
  readonly leavesWith: RestartPolicy | undefined;
  readonly podName: string;
  readonly podNamespace: string;
  readonly logLevel: string;
  /** Library preloaded into criu; only the test bed sets it, in an image of its own. */
  readonly criuPreload: string | undefined;
  readonly tokenFile: string;
  readonly workDir: string;
}

/** @throws PodferryError CONFIG_INVALID naming each variable that is wrong */
export function parseConfig(env: NodeJS.ProcessEnv): Config {
  const parsed = Environment.safeParse(env);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new PodferryError('CONFIG_INVALID', `the agent's environment is not what the webhook injects: ${faults}`);
  }
  const e = parsed.data;
  return {
    operator: e[agentEnv.operator],
    ca: e[agentEnv.ca],
    serverName: e[agentEnv.serverName],
    original: e[agentEnv.original],
    restoreFor: e[agentEnv.restore] === '' ? undefined : e[agentEnv.restore],
    dataDirs: e[agentEnv.dataDirs],
    leavesWith: e[agentEnv.leavesWith],
    podName: e[agentEnv.podName],
    podNamespace: e[agentEnv.podNamespace],
    logLevel: e.PODFERRY_LOG_LEVEL,
    criuPreload: e.PODFERRY_CRIU_PRELOAD,
    tokenFile: paths.token,
    workDir: paths.work,
  };
}
