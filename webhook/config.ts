import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { ports, services, systemNamespace } from '../proto/names.ts';
import { quantityInNanos } from '../proto/quantity.ts';

const quantity = z.string().refine((text) => (quantityInNanos(text) ?? 0n) > 0n, 'is no positive quantity');

const Environment = z.object({
  PODFERRY_AGENT_IMAGE: z.string().regex(/^[\w.:@/-]+$/, 'names no image'),
  PODFERRY_OPERATOR: z
    .string()
    .regex(/^[^\s:]+:\d{1,5}$/, 'is no host:port')
    .default(`${services.operator}.${systemNamespace}.svc:${ports.hub}`),
  PODFERRY_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  PODFERRY_TLS_DIR: z.string().startsWith('/').default('/tls'),
  PODFERRY_PORT: z.coerce.number().int().min(0).max(65_535).default(ports.webhook),
  PODFERRY_NATIVE_SIDECARS: z.enum(['auto', 'true', 'false']).default('auto'),
  PODFERRY_REGISTRIES: z.string().startsWith('/').default('/registries/registries.yaml'),
  // Set by the kubelet in every pod.
  KUBERNETES_SERVICE_HOST: z
    .string()
    .regex(/^[\w.:-]+$/, 'is no host')
    .optional(),
  KUBERNETES_SERVICE_PORT: z.coerce.number().int().min(1).max(65_535).default(443),
  PODFERRY_GUARANTEED_CPU: quantity.default('500m'),
  PODFERRY_GUARANTEED_MEMORY: quantity.default('512Mi'),
});

export interface Config {
  readonly agentImage: string;
  readonly operatorAddress: string;
  readonly logLevel: string;
  /** Directory with tls.crt, tls.key and ca.crt. */
  readonly tlsDir: string;
  /** 0: any that is free; the log tells which. */
  readonly port: number;
  /** Whether the agent becomes a native sidecar; `auto` asks the server. */
  readonly nativeSidecars: 'auto' | 'true' | 'false';
  /** File with the registries that have settings of their own; it need not be there. */
  readonly registriesFile: string;
  /** URL of the API server; undefined outside a cluster, where there is none to ask. */
  readonly apiServer: string | undefined;
  readonly guaranteedResources: { readonly cpu: string; readonly memory: string };
}

/** @throws PodferryError CONFIG_INVALID naming the variable, never its value */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new PodferryError('CONFIG_INVALID', `the environment of the webhook is invalid: ${faults}`);
  }
  const { data } = parsed;
  const host = data.KUBERNETES_SERVICE_HOST;
  return {
    agentImage: data.PODFERRY_AGENT_IMAGE,
    operatorAddress: data.PODFERRY_OPERATOR,
    logLevel: data.PODFERRY_LOG_LEVEL,
    tlsDir: data.PODFERRY_TLS_DIR,
    port: data.PODFERRY_PORT,
    nativeSidecars: data.PODFERRY_NATIVE_SIDECARS,
    registriesFile: data.PODFERRY_REGISTRIES,
    apiServer: host && `https://${isIPv6(host) ? `[${host}]` : host}:${data.KUBERNETES_SERVICE_PORT}`,
    guaranteedResources: { cpu: data.PODFERRY_GUARANTEED_CPU, memory: data.PODFERRY_GUARANTEED_MEMORY },
  };
}
