import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { S3Client } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Store as StoreSettings } from '../gen/agent/v1/agent.ts';
import { toGoogle, type Signable } from './goog4.ts';

/** Where the objects are and who we are there; the operator's Welcome carries it. Kept in memory only. */
export type S3Settings = StoreSettings;

/** How long one exchange may take; all have defaults that suit 8 MiB objects. */
export interface S3Timeouts {
  readonly connectMs: number;
  /** From sending the request to the start of the answer. */
  readonly requestMs: number;
  /** Silence on the connection, also in the middle of a body. */
  readonly idleMs: number;
}

export const defaultTimeouts: S3Timeouts = { connectMs: 5_000, requestMs: 30_000, idleMs: 15_000 };
export const tries = 4;
const maxConnections = 32;

const googleEndpoint = 'https://storage.googleapis.com';

/** Buckets of S3 Express One Zone, for which the SDK opens sessions by itself. */
export const isDirectoryBucket = (bucket: string): boolean => bucket.endsWith('--x-s3');

export function createS3Client(settings: S3Settings, timeouts: S3Timeouts): S3Client {
  const { type, region, accessKeyId, secretAccessKey, sessionToken } = settings;
  const isGoogle = type === 'gcs';
  const endpoint = settings.endpoint === '' && isGoogle ? googleEndpoint : settings.endpoint;
  const agent = { keepAlive: true, maxSockets: maxConnections };
  const sign = async <T extends Signable>(request: T): Promise<T> =>
    toGoogle(request, { accessKeyId, secretAccessKey }, new Date());
  return new S3Client({
    ...(endpoint === '' ? {} : { endpoint }),
    region,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    // MinIO answers to bucket names in host names only when it is told its domain; Google's bucket names may hold what a host name may not.
    forcePathStyle: settings.forcePathStyle || isGoogle || type === 'minio',
    maxAttempts: tries,
    // Anything else than WHEN_REQUIRED breaks GCS's S3 endpoint; our digests are stricter than the SDK's CRC anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(isGoogle ? { signer: { sign } } : {}),
    requestHandler: new NodeHttpHandler({
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: timeouts.connectMs,
      requestTimeout: timeouts.requestMs,
      throwOnRequestTimeout: true,
      socketTimeout: timeouts.idleMs,
    }),
  });
}

interface Middleware {
  add(
    step: (next: (call: unknown) => Promise<unknown>) => (call: unknown) => Promise<unknown>,
    options: { readonly step: 'build'; readonly name: string },
  ): void;
}

/** Signs with the digest we already have, so that the SDK does not hash the body a second time and the server checks ours. */
export function signWith(stack: unknown, sha256: string): void {
  (stack as Middleware).add(
    (next) => (call) => {
      const request = (call as { readonly request: { headers: Record<string, string> } }).request;
      request.headers['x-amz-content-sha256'] = sha256;
      return next(call);
    },
    { step: 'build', name: 'podferryContentSha256' },
  );
}
