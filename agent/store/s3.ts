import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { PodferryError } from '../../proto/errors.ts';
import {
  createS3Client,
  defaultTimeouts,
  signWith,
  tries,
  type S3Settings,
  type S3Timeouts,
} from '../../proto/s3/client.ts';
import { deletesOf } from '../../proto/s3/delete.ts';
import { isTransient, statusOf, storeError } from '../../proto/s3/errors.ts';
import { listPages } from '../../proto/s3/list.ts';
import type { Store, WriteOptions } from './store.ts';

export type { S3Settings } from '../../proto/s3/client.ts';

const backOffMs = 100;

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

/** @throws PodferryError as Store.list */
async function isListed(store: Store, key: string, signal: AbortSignal): Promise<boolean> {
  for await (const found of store.list(key, signal)) if (found.key === key) return true;
  return false;
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
 * An S3 bucket: AWS, MinIO, Ceph RGW and anything else that speaks it; Google's with keys for HMAC.
 * @throws nothing itself; connections are made on first use
 */
export function createS3Store(settings: S3Settings, timeouts: S3Timeouts = defaultTimeouts): ClosableStore {
  const client = createS3Client(settings, timeouts);
  const { bucket: Bucket } = settings;
  const remove = deletesOf(settings);

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

  /** As again; but with rights on a prefix only, S3 denies what is not there, since those to list the bucket are not there either. */
  async function reading<T>(store: Store, key: string, signal: AbortSignal, read: () => Promise<T>): Promise<T> {
    try {
      return await again(key, signal, read);
    } catch (error) {
      const isDenied = error instanceof PodferryError && error.code === 'STORE_DENIED';
      if (!isDenied || settings.sessionToken === undefined || (await isListed(store, key, signal))) throw error;
      throw new PodferryError('OBJECT_MISSING', `read of ${key}: it is not there`, { key }, { cause: error });
    }
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
      await reading(this, key, signal, async () => readRest(key, target, part, signal));
    },

    async readRange(key, offset, target, bytes, signal) {
      const part = { offset, bytes, isWhole: false, done: 0 };
      await reading(this, key, signal, async () => readRest(key, target, part, signal));
    },

    async get(key, maxBytes, signal) {
      return reading(this, key, signal, async () => getOnce(key, maxBytes, signal));
    },

    async *list(prefix, signal) {
      for await (const { objects } of listPages(client, Bucket, prefix, signal)) yield* objects;
    },

    async delete(keys, signal) {
      await remove(client, Bucket, keys, signal);
    },

    close() {
      client.destroy();
    },
  };
}
