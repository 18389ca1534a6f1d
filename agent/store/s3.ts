import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { PodferryError } from '../../proto/errors.ts';
import { isTransient, statusOf, storeError } from './s3-errors.ts';
import type { Store, WriteOptions } from './store.ts';

/** Where the objects are and who we are there; the operator's Welcome carries it. Kept in memory only. */
export interface S3Settings {
  /** Empty: the provider's own endpoint for the region. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly forcePathStyle: boolean;
}

/** How long one exchange may take; all have defaults that suit 8 MiB objects. */
export interface S3Timeouts {
  readonly connectMs: number;
  /** From sending the request to the start of the answer. */
  readonly requestMs: number;
  /** Silence on the connection, also in the middle of a body. */
  readonly idleMs: number;
}

const defaultTimeouts: S3Timeouts = { connectMs: 5_000, requestMs: 30_000, idleMs: 15_000 };
const tries = 4;
const backOffMs = 100;
const maxConnections = 32;

/** A store that holds connections open; close it when done. */
export interface ClosableStore extends Store {
  close(): void;
}

function clientOf(settings: S3Settings, timeouts: S3Timeouts): S3Client {
  const agent = { keepAlive: true, maxSockets: maxConnections };
  const client = new S3Client({
    ...(settings.endpoint === '' ? {} : { endpoint: settings.endpoint }),
    region: settings.region,
    credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey },
    forcePathStyle: settings.forcePathStyle,
    maxAttempts: tries,
    // Anything else than WHEN_REQUIRED breaks GCS's S3 endpoint; our digests are stricter than the SDK's CRC anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: new NodeHttpHandler({
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: timeouts.connectMs,
      requestTimeout: timeouts.requestMs,
      throwOnRequestTimeout: true,
      socketTimeout: timeouts.idleMs,
    }),
  });
  return client;
}

interface Middleware {
  add(
    step: (next: (call: unknown) => Promise<unknown>) => (call: unknown) => Promise<unknown>,
    options: { readonly step: 'build'; readonly name: string },
  ): void;
}

/** Signs with the digest we already have, so that the SDK does not hash the body a second time and the server checks ours. */
function signWith(stack: unknown, sha256: string): void {
  (stack as Middleware).add(
    (next) => (call) => {
      const request = (call as { readonly request: { headers: Record<string, string> } }).request;
      request.headers['x-amz-content-sha256'] = sha256;
      return next(call);
    },
    { step: 'build', name: 'podferryContentSha256' },
  );
}

const sizeMismatch = (key: string, expected: number, got: number | string): PodferryError =>
  new PodferryError('OBJECT_CORRUPT', `${key} should have ${expected} bytes and has ${got}`, { key });

/** Whether an object exists with exactly these bytes. */
async function holds(store: Store, key: string, body: Uint8Array, signal: AbortSignal): Promise<boolean> {
  try {
    return Buffer.compare(await store.get(key, body.byteLength, signal), body) === 0;
  } catch (error) {
    if (error instanceof PodferryError && error.code === 'OBJECT_CORRUPT') return false;
    throw error;
  }
}

/**
 * An S3 bucket: AWS, MinIO, Ceph RGW and anything else that speaks it.
 * @throws nothing itself; connections are made on first use
 */
export function createS3Store(settings: S3Settings, timeouts: S3Timeouts = defaultTimeouts): ClosableStore {
  const client = clientOf(settings, timeouts);
  const { bucket: Bucket } = settings;

  async function send(key: string, body: Uint8Array, options: WriteOptions, once: boolean): Promise<void> {
    const command = new PutObjectCommand({
      Bucket,
      Key: key,
      Body: body,
      ContentLength: body.byteLength,
      ContentType: 'application/octet-stream',
      ...(once ? { IfNoneMatch: '*' } : {}),
    });
    signWith(command.middlewareStack, options.sha256);
    await client.send(command, { abortSignal: options.signal });
  }

  /** Copies the object from byte `from` on into target; resolves to where it got. A break in mid-body is thrown. */
  async function readFrom(
    key: string,
    target: Uint8Array,
    at: { from: number },
    bytes: number,
    signal: AbortSignal,
  ): Promise<void> {
    const ranged = at.from > 0;
    const command = new GetObjectCommand({ Bucket, Key: key, ...(ranged ? { Range: `bytes=${at.from}-` } : {}) });
    const answer = await client.send(command, { abortSignal: signal });
    const body = answer.Body;
    if (!(body instanceof Readable)) throw new PodferryError('STORE_READ_FAILED', `read of ${key}: no body`, { key });
    try {
      const announced = answer.ContentLength;
      if (announced !== undefined && announced + at.from !== bytes) {
        throw sizeMismatch(key, bytes, announced + at.from);
      }
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        if (at.from + chunk.byteLength > bytes) throw sizeMismatch(key, bytes, `more than ${bytes}`);
        target.set(chunk, at.from);
        at.from += chunk.byteLength;
        signal.throwIfAborted();
      }
    } finally {
      body.destroy();
    }
    if (at.from < bytes) throw new Error(`the body ended ${bytes - at.from} bytes early`);
  }

  return {
    async put(key, body, options) {
      try {
        await send(key, body, options, false);
      } catch (error) {
        throw storeError(error, 'write', key, options.signal);
      }
    },

    async putOnce(key, body, options) {
      try {
        await send(key, body, options, true);
      } catch (error) {
        if (statusOf(error) !== 412) throw storeError(error, 'write', key, options.signal);
        // A try of ours whose answer was lost may have written it.
        if (!(await holds(this, key, body, options.signal))) {
          throw new PodferryError('STORE_WRITE_FAILED', `${key} exists with other content`, { key }, { cause: error });
        }
      }
    },

    async read(key, target, bytes, signal) {
      const at = { from: 0 };
      for (let left = tries; ; left -= 1) {
        try {
          // The SDK retries until the answer's head has come; a connection lost in mid-body is ours to resume.
          return await readFrom(key, target, at, bytes, signal);
        } catch (error) {
          const final = error instanceof PodferryError || !isTransient(error) || signal.aborted || left <= 1;
          if (final) throw storeError(error, 'read', key, signal);
          await delay(backOffMs * (tries - left + 1));
        }
      }
    },

    async get(key, maxBytes, signal) {
      try {
        const answer = await client.send(new GetObjectCommand({ Bucket, Key: key }), { abortSignal: signal });
        const body = answer.Body;
        if (!(body instanceof Readable)) throw new PodferryError('STORE_READ_FAILED', `${key}: no body`, { key });
        const parts: Uint8Array[] = [];
        let bytes = 0;
        for await (const chunk of body as AsyncIterable<Uint8Array>) {
          bytes += chunk.byteLength;
          if (bytes > maxBytes) {
            throw new PodferryError('OBJECT_CORRUPT', `${key} is larger than ${maxBytes} bytes`, { key });
          }
          parts.push(chunk);
        }
        return Buffer.concat(parts);
      } catch (error) {
        throw storeError(error, 'read', key, signal);
      }
    },

    close() {
      client.destroy();
    },
  };
}
