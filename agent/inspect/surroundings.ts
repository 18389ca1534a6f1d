import type { S3Settings } from '../store/s3.ts';

/** What podferry-inspect is given beside its arguments. */
export interface Surroundings {
  /** For an s3: URL. */
  readonly credentials: Pick<S3Settings, 'accessKeyId' | 'secretAccessKey'>;
  /** The store of an operator, in whose container this runs; undefined elsewhere. */
  readonly operators: { readonly store: S3Settings; readonly prefix: string } | undefined;
  /** All of standard input. */
  readStdin(): Promise<Buffer>;
}

/** From the environment: the operator's variables, and AWS's names for credentials. */
export function surroundingsOf(
  env: Readonly<Record<string, string | undefined>>,
  readStdin: () => Promise<Buffer>,
): Surroundings {
  const bucket = env['PODFERRY_S3_BUCKET'] ?? '';
  const prefix = (env['PODFERRY_S3_PREFIX'] ?? '').replace(/^\/+|\/+$/g, '');
  const operators = {
    store: {
      type: env['PODFERRY_STORE_TYPE'] || 's3',
      folder: env['PODFERRY_STORE_FOLDER'] ?? '',
      endpoint: env['PODFERRY_S3_ENDPOINT'] ?? '',
      region: env['PODFERRY_S3_REGION'] || 'us-east-1',
      bucket,
      forcePathStyle: env['PODFERRY_S3_FORCE_PATH_STYLE'] === 'true',
      accessKeyId: env['PODFERRY_S3_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['PODFERRY_S3_SECRET_ACCESS_KEY'] ?? '',
    },
    prefix: prefix === '' ? '' : `${prefix}/`,
  };
  return {
    credentials: { accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '' },
    operators: bucket === '' && operators.store.folder === '' ? undefined : operators,
    readStdin,
  };
}
