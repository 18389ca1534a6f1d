import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { systemNamespace } from '../proto/names.ts';

const Environment = z.object({
  PODFERRY_LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
  POD_NAMESPACE: z.string().min(1).default(systemNamespace),
});

export interface Config {
  readonly logLevel: string;
  readonly namespace: string;
}

/** @throws PodferryError CONFIG_INVALID naming the variable, never its value */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new PodferryError('CONFIG_INVALID', `the environment of podferry-certs is invalid: ${faults}`);
  }
  return { logLevel: parsed.data.PODFERRY_LOG_LEVEL, namespace: parsed.data.POD_NAMESPACE };
}
