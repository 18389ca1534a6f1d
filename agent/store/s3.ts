import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
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
/** Most that one request may remove. */
const deletesAtOnce = 1000;

/** What is to be read of an object, and how far that has got. */
interface Part {
  readonly offset: number;
  readonly bytes: number;
  /** The object must have no more. */
  readonly isWhole: boolean;
  done: number;
}

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

/** Reads, again after passing faults: the SDK retries until the answer's head has come, a connection lost in mid-body is ours. */
async function again<T>(key: string, signal: AbortSignal, read: () => Promise<T>): Promise<T> {
  for (let left = tries; ; left -= 1) {
    try {
      return await read();
    } catch (error) {
      const final = error instanceof PodferryError || !isTransient(error) || signal.aborted || left <= 1;
      if (final) throw storeError(error, 'read', key, signal);
      await delay(backOffMs * (tries - left + 1), undefined, { signal }).catch(() => {
        throw storeError(error, 'read', key, signal);
      });
    }
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

  /** Copies the rest of a part of an object into target. A break in mid-body is thrown, and part.done says how far it got. */
  async function readRest(key: string, target: Uint8Array, part: Part, signal: AbortSignal): Promise<void> {
    const from = part.offset + part.done;
    const Range =
      part.isWhole && from === 0 ? undefined : `bytes=${from}-${part.isWhole ? '' : part.offset + part.bytes - 1}`;
    const command = new GetObjectCommand({ Bucket, Key: key, ...(Range === undefined ? {} : { Range }) });
    const answer = await client.send(command, { abortSignal: signal });
    const body = answer.Body;
    if (!(body instanceof Readable)) throw new PodferryError('STORE_READ_FAILED', `read of ${key}: no body`, { key });
    try {
      const announced = answer.ContentLength;
      if (announced !== undefined && announced + part.done !== part.bytes) {
        throw sizeMismatch(key, part.bytes, announced + part.done);
      }
      if (Range !== undefined && answer.$metadata.httpStatusCode !== 206) {
        throw new PodferryError('STORE_READ_FAILED', `read of ${key}: the server ignored ${Range}`, { key });
      }
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        if (part.done + chunk.byteLength > part.bytes) throw sizeMismatch(key, part.bytes, `more than ${part.bytes}`);
        target.set(chunk, part.done);
        part.done += chunk.byteLength;
        signal.throwIfAborted();
      }
    } finally {
      body.destroy();
    }
    if (part.done < part.bytes) throw new Error(`the body ended ${part.bytes - part.done} bytes early`);
  }

  async function getOnce(key: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
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
      const part = { offset: 0, bytes, isWhole: true, done: 0 };
      await again(key, signal, async () => readRest(key, target, part, signal));
    },

    async readRange(key, offset, target, bytes, signal) {
      const part = { offset, bytes, isWhole: false, done: 0 };
      await again(key, signal, async () => readRest(key, target, part, signal));
    },

    async get(key, maxBytes, signal) {
      return again(key, signal, async () => getOnce(key, maxBytes, signal));
    },

    async *list(prefix, signal) {
      let ContinuationToken: string | undefined;
      do {
        const command: ListObjectsV2Command = new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken });
        const page = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
          throw storeError(error, 'read', prefix, signal);
        });
        for (const { Key: key, Size: bytes, LastModified } of page.Contents ?? []) {
          if (key !== undefined) yield { key, bytes: bytes ?? 0, modifiedMs: LastModified?.getTime() ?? 0 };
        }
        ContinuationToken = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (ContinuationToken !== undefined);
    },

    async delete(keys, signal) {
      for (let at = 0; at < keys.length; at += deletesAtOnce) {
        const Objects = keys.slice(at, at + deletesAtOnce).map((Key) => ({ Key }));
        const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } });
        const answer = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
          throw storeError(error, 'write', Objects[0]?.Key ?? '', signal);
        });
        const [failed] = answer.Errors ?? [];
        if (failed !== undefined) {
          const code = failed.Code === 'AccessDenied' ? 'STORE_DENIED' : 'STORE_WRITE_FAILED';
          throw new PodferryError(code, `delete of ${failed.Key}: ${failed.Code}: ${failed.Message}`, {
            key: failed.Key,
          });
        }
      }
    },

    close() {
      client.destroy();
    },
  };
}
