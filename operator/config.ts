import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { ports, systemNamespace } from '../proto/names.ts';

const daySeconds = 24 * 60 * 60;
const maxTtlSeconds = 3650 * daySeconds;

/** A checkpoint that still uses packs of one more than this many before it costs more storage than it saves. */
const retentionDepth = 16;

/** An empty variable is one that is not set: that is how an optional key of a ConfigMap arrives. */
function optional<T extends z.ZodType>(schema: T): z.ZodPreprocess<T> {
  return z.preprocess((value) => (value === '' ? undefined : value), schema);
}

const Environment = z.object({
  PODFERRY_LOG_LEVEL: optional(z.enum(['error', 'warn', 'info', 'debug']).default('info')),
  POD_NAME: optional(z.string().optional()),
  POD_NAMESPACE: optional(z.string().default(systemNamespace)),
  PODFERRY_TLS_DIR: optional(z.string().default('/tls')),
  PODFERRY_HUB_PORT: optional(z.coerce.number().int().min(0).max(65_535).default(ports.hub)),
  PODFERRY_HEALTH_PORT: optional(z.coerce.number().int().min(0).max(65_535).default(ports.health)),
  PODFERRY_S3_ENDPOINT: optional(z.url().optional()),
  PODFERRY_S3_REGION: optional(z.string().default('us-east-1')),
  PODFERRY_S3_BUCKET: z.string().min(1),
  PODFERRY_S3_PREFIX: optional(z.string().default('')),
  PODFERRY_S3_FORCE_PATH_STYLE: optional(z.enum(['true', 'false']).default('false')),
  PODFERRY_S3_ACCESS_KEY_ID: z.string().min(1),
  PODFERRY_S3_SECRET_ACCESS_KEY: z.string().min(1),
  PODFERRY_RETENTION_COUNT: optional(z.coerce.number().int().min(1).max(1000).default(2)),
  PODFERRY_RETENTION_TTL_SECONDS: optional(
    z.coerce
      .number()
      .int()
      .min(60)
      .max(maxTtlSeconds)
      .default(7 * daySeconds),
  ),
});

export interface Config {
  readonly logLevel: string;
  /** Undefined outside a cluster: then no pod is labelled as the leader. */
  readonly podName: string | undefined;
  readonly namespace: string;
  readonly tlsDir: string;
  readonly hubPort: number;
  readonly healthPort: number;
  /** What agents get to reach the store. */
  readonly store: {
    readonly endpoint: string;
    readonly region: string;
    readonly bucket: string;
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly forcePathStyle: boolean;
  };
  /** Without slashes at its ends. */
  readonly prefix: string;
  /** What agents get to know of how long checkpoints are kept. */
  readonly retention: { readonly count: number; readonly ttlSeconds: number; readonly depth: number };
}

/** @throws PodferryError CONFIG_INVALID naming the variables; never their values */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(env);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    throw new PodferryError('CONFIG_INVALID', `environment: ${wrong}`);
  }
  const values = parsed.data;
  return {
    logLevel: values.PODFERRY_LOG_LEVEL,
    podName: values.POD_NAME,
    namespace: values.POD_NAMESPACE,
    tlsDir: values.PODFERRY_TLS_DIR,
    hubPort: values.PODFERRY_HUB_PORT,
    healthPort: values.PODFERRY_HEALTH_PORT,
    store: {
      endpoint: values.PODFERRY_S3_ENDPOINT ?? '',
      region: values.PODFERRY_S3_REGION,
      bucket: values.PODFERRY_S3_BUCKET,
      accessKeyId: values.PODFERRY_S3_ACCESS_KEY_ID,
      secretAccessKey: values.PODFERRY_S3_SECRET_ACCESS_KEY,
      forcePathStyle: values.PODFERRY_S3_FORCE_PATH_STYLE === 'true',
    },
    prefix: values.PODFERRY_S3_PREFIX.replace(/^\/+|\/+$/g, ''),
    retention: {
      count: values.PODFERRY_RETENTION_COUNT,
      ttlSeconds: values.PODFERRY_RETENTION_TTL_SECONDS,
      depth: retentionDepth,
    },
  };
}
