import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import type { Retention, Store } from '../proto/gen/agent/v1/agent.ts';
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
  PODFERRY_REPAIR: optional(z.enum(['true', 'false']).default('false')),
  PODFERRY_STORE_TYPE: optional(z.enum(['s3', 'minio', 'gcs', 'file']).default('s3')),
  PODFERRY_STORE_FOLDER: optional(z.string().default('')),
  PODFERRY_S3_ENDPOINT: optional(z.url().optional()),
  PODFERRY_S3_REGION: optional(z.string().default('us-east-1')),
  PODFERRY_S3_BUCKET: optional(z.string().default('')),
  PODFERRY_S3_PREFIX: optional(z.string().default('')),
  PODFERRY_S3_FORCE_PATH_STYLE: optional(z.enum(['true', 'false']).default('false')),
  PODFERRY_S3_ACCESS_KEY_ID: optional(z.string().default('')),
  PODFERRY_S3_SECRET_ACCESS_KEY: optional(z.string().default('')),
  PODFERRY_S3_ROLE_ARN: optional(
    z
      .string()
      .regex(/^arn:[\w-]+:\w+:/, 'no ARN')
      .optional(),
  ),
  PODFERRY_S3_STS_ENDPOINT: optional(z.url().optional()),
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

type Values = z.infer<typeof Environment>;

/** What has to be true of a store of the type that was chosen: [variable, what is wrong with it, whether it is]. */
function contradictions(values: Values): readonly string[] {
  const { PODFERRY_STORE_TYPE: type, PODFERRY_S3_BUCKET: bucket } = values;
  const isFile = type === 'file';
  const isDirectoryBucket = bucket.endsWith('--x-s3');
  const isPathStyle = values.PODFERRY_S3_FORCE_PATH_STYLE === 'true';
  const hasRole = values.PODFERRY_S3_ROLE_ARN !== undefined;
  const rules: readonly (readonly [keyof Values, string, boolean])[] = [
    [
      'PODFERRY_STORE_FOLDER',
      'a store of type file needs an absolute path',
      isFile && !values.PODFERRY_STORE_FOLDER.startsWith('/'),
    ],
    ['PODFERRY_STORE_FOLDER', `a store of type ${type} has none`, !isFile && values.PODFERRY_STORE_FOLDER !== ''],
    ['PODFERRY_S3_BUCKET', `a store of type ${type} needs one`, !isFile && bucket === ''],
    [
      'PODFERRY_S3_ACCESS_KEY_ID',
      `a store of type ${type} needs one`,
      !isFile && values.PODFERRY_S3_ACCESS_KEY_ID === '',
    ],
    [
      'PODFERRY_S3_SECRET_ACCESS_KEY',
      `a store of type ${type} needs one`,
      !isFile && values.PODFERRY_S3_SECRET_ACCESS_KEY === '',
    ],
    [
      'PODFERRY_S3_ENDPOINT',
      'MinIO has no endpoint of its own',
      type === 'minio' && values.PODFERRY_S3_ENDPOINT === undefined,
    ],
    ['PODFERRY_S3_BUCKET', `directory buckets are of type s3, not ${type}`, isDirectoryBucket && type !== 's3'],
    ['PODFERRY_S3_FORCE_PATH_STYLE', 'directory buckets know no path style', isDirectoryBucket && isPathStyle],
    ['PODFERRY_S3_ROLE_ARN', 'directory buckets know no rights by prefix', isDirectoryBucket && hasRole],
    ['PODFERRY_S3_ROLE_ARN', `a store of type ${type} knows no roles`, (isFile || type === 'gcs') && hasRole],
    [
      'PODFERRY_S3_STS_ENDPOINT',
      'PODFERRY_S3_ROLE_ARN is missing',
      values.PODFERRY_S3_STS_ENDPOINT !== undefined && !hasRole,
    ],
  ];
  return rules.filter(([, , isWrong]) => isWrong).map(([name, why]) => `${name}: ${why}`);
}

/** A role that the operator assumes for its agents. */
export interface StoreRole {
  readonly arn: string;
  /** Undefined: the provider's own. */
  readonly stsEndpoint: string | undefined;
}

export interface Config {
  readonly logLevel: string;
  /** Undefined outside a cluster: then no pod is labelled as the leader. */
  readonly podName: string | undefined;
  readonly namespace: string;
  readonly tlsDir: string;
  readonly hubPort: number;
  readonly healthPort: number;
  /** Opted-in Deployments that were not injected are changed so that they are. */
  readonly isRepairing: boolean;
  /** What agents get to reach the store; with a role only where it is, and credentials of their own. */
  readonly store: Store;
  /** Whose rights agents get, each for its instance only. */
  readonly role: StoreRole | undefined;
  /** Without slashes at its ends. */
  readonly prefix: string;
  /** What agents get to know of how long checkpoints are kept. */
  readonly retention: Retention;
}

/** @throws PodferryError CONFIG_INVALID naming the variables; never their values */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(env);
  const wrong = parsed.success
    ? contradictions(parsed.data)
    : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  if (!parsed.success || wrong.length > 0) {
    throw new PodferryError('CONFIG_INVALID', `environment: ${wrong.join('; ')}`);
  }
  const values = parsed.data;
  return {
    logLevel: values.PODFERRY_LOG_LEVEL,
    podName: values.POD_NAME,
    namespace: values.POD_NAMESPACE,
    tlsDir: values.PODFERRY_TLS_DIR,
    hubPort: values.PODFERRY_HUB_PORT,
    healthPort: values.PODFERRY_HEALTH_PORT,
    isRepairing: values.PODFERRY_REPAIR === 'true',
    store: {
      type: values.PODFERRY_STORE_TYPE,
      endpoint: values.PODFERRY_S3_ENDPOINT ?? '',
      region: values.PODFERRY_S3_REGION,
      bucket: values.PODFERRY_S3_BUCKET,
      accessKeyId: values.PODFERRY_S3_ACCESS_KEY_ID,
      secretAccessKey: values.PODFERRY_S3_SECRET_ACCESS_KEY,
      forcePathStyle: values.PODFERRY_S3_FORCE_PATH_STYLE === 'true',
      ...(values.PODFERRY_STORE_FOLDER === '' ? {} : { folder: values.PODFERRY_STORE_FOLDER }),
    },
    role: roleOf(values),
    prefix: values.PODFERRY_S3_PREFIX.replace(/^\/+|\/+$/g, ''),
    retention: {
      count: values.PODFERRY_RETENTION_COUNT,
      ttlSeconds: values.PODFERRY_RETENTION_TTL_SECONDS,
      depth: retentionDepth,
    },
  };
}

function roleOf(values: Values): StoreRole | undefined {
  const arn = values.PODFERRY_S3_ROLE_ARN;
  if (arn === undefined) return undefined;
  // Ceph and MinIO answer STS where they answer S3.
  return { arn, stsEndpoint: values.PODFERRY_S3_STS_ENDPOINT ?? values.PODFERRY_S3_ENDPOINT };
}
