import { createHash, randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PodferryError, type ErrorCode } from '../../proto/errors.ts';
import type { StoredObject } from '../../proto/s3/list.ts';
import type { Store, WriteOptions } from './store.ts';

/** Objects on their way in; never listed. */
const incoming = '.incoming';
/** No object takes this long to write: its writer was killed. */
const draftMs = 60 * 60_000;

const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

function fileError(error: unknown, doing: 'read' | 'write', key: string): Error {
  if (error instanceof PodferryError) return error;
  const errno = errnoOf(error);
  // The caller's signal, whose reason this is.
  if (errno === undefined && error instanceof Error) return error;
  const codes: Readonly<Record<string, ErrorCode>> = {
    ENOENT: doing === 'read' ? 'OBJECT_MISSING' : 'STORE_WRITE_FAILED',
    EACCES: 'STORE_DENIED',
    EPERM: 'STORE_DENIED',
    EROFS: 'STORE_DENIED',
    ESTALE: 'STORE_UNREACHABLE',
    ENOTCONN: 'STORE_UNREACHABLE',
  };
  const code = codes[errno ?? ''] ?? (doing === 'read' ? 'STORE_READ_FAILED' : 'STORE_WRITE_FAILED');
  const said = error instanceof Error ? error.message : String(error);
  return new PodferryError(code, `${doing} of ${key}: ${said}`, { key, errno }, { cause: error });
}

/** A name that was made is durable only once its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Objects as files of a folder, for volumes that several nodes share (NFS, CephFS): an object appears whole or not at all, and create-once
 * has one winner, because link() has.
 * @param root exists; may be shared with other prefixes
 */
export function createFileStore(root: string): Store {
  function pathOf(key: string): string {
    const parts = key.split('/');
    if (
      parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0')) ||
      parts[0] === incoming
    ) {
      throw new PodferryError('STORE_DENIED', `"${key}" is no key of a file store`, { key });
    }
    return join(root, ...parts);
  }

  /** Never makes the root itself: when it is not there, the volume is not. */
  async function makeIncoming(): Promise<void> {
    try {
      await mkdir(join(root, incoming));
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return;
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new PodferryError('STORE_UNREACHABLE', `there is no folder ${root}`, {}, { cause: error });
    }
  }

  let hasSwept = false;
  /** Removes what killed writers left. @param nowMs by the clock of the volume */
  async function sweep(nowMs: number): Promise<void> {
    if (hasSwept) return;
    hasSwept = true;
    for (const name of await readdir(join(root, incoming))) {
      const path = join(root, incoming, name);
      const { mtimeMs } = await stat(path).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return { mtimeMs: nowMs }; // another writer's, done meanwhile
        throw error;
      });
      if (nowMs - mtimeMs > draftMs) await rm(path, { force: true });
    }
  }

  /** Writes a file nobody sees yet, and gives it its name by `name`. */
  async function write(
    key: string,
    body: Uint8Array,
    { sha256, signal }: WriteOptions,
    name: (from: string, to: string) => Promise<void>,
  ): Promise<void> {
    const path = pathOf(key);
    signal.throwIfAborted();
    if (createHash('sha256').update(body).digest('hex') !== sha256) {
      throw new PodferryError('STORE_WRITE_FAILED', `write of ${key}: the bytes are not those of the digest`, { key });
    }
    const draft = join(root, incoming, randomUUID());
    await makeIncoming();
    await mkdir(dirname(path), { recursive: true });
    try {
      const file = await open(draft, 'wx', 0o600);
      try {
        await file.writeFile(body, { signal });
        await file.sync();
        await sweep((await file.stat()).mtimeMs);
      } finally {
        await file.close();
      }
      signal.throwIfAborted();
      await name(draft, path);
      await syncFolder(dirname(path));
    } finally {
      await rm(draft, { force: true });
    }
  }

  /** Reads exactly `bytes` from `offset` on. */
  async function readAt(
    key: string,
    target: Uint8Array,
    part: { readonly offset: number; readonly bytes: number; readonly isWhole: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const file = await open(pathOf(key), 'r');
    try {
      const { size } = await file.stat();
      const end = part.offset + part.bytes;
      if (part.isWhole ? size !== end : size < end) {
        throw new PodferryError('OBJECT_CORRUPT', `${key} should have ${end} bytes and has ${size}`, { key });
      }
      for (let done = 0; done < part.bytes;) {
        signal.throwIfAborted();
        const { bytesRead } = await file.read(target, done, part.bytes - done, part.offset + done);
        if (bytesRead === 0)
          throw new PodferryError('OBJECT_CORRUPT', `${key} became shorter while it was read`, { key });
        done += bytesRead;
      }
    } finally {
      await file.close();
    }
  }

  async function* walk(folder: string, keyPrefix: string): AsyncGenerator<string, void, undefined> {
    let entries: Dirent[];
    try {
      entries = await readdir(folder, { withFileTypes: true });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    for (const entry of entries) {
      const key = `${keyPrefix}${entry.name}`;
      if (entry.isDirectory()) {
        if (key !== incoming) yield* walk(join(folder, entry.name), `${key}/`);
      } else if (entry.isFile()) {
        yield key;
      }
    }
  }

  const store: Store = {
    async put(key, body, options) {
      try {
        await write(key, body, options, rename);
      } catch (error) {
        throw fileError(error, 'write', key);
      }
    },

    async putOnce(key, body, options) {
      try {
        await write(key, body, options, link);
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw fileError(error, 'write', key);
        const there = await store.get(key, Math.max(body.byteLength, 1), options.signal).catch((other: unknown) => {
          if (other instanceof PodferryError && other.code === 'OBJECT_CORRUPT') return undefined;
          throw other;
        });
        if (there === undefined || Buffer.compare(there, body) !== 0) {
          throw new PodferryError('STORE_WRITE_FAILED', `${key} exists with other content`, { key }, { cause: error });
        }
      }
    },

    async read(key, target, bytes, signal) {
      try {
        await readAt(key, target, { offset: 0, bytes, isWhole: true }, signal);
      } catch (error) {
        throw fileError(error, 'read', key);
      }
    },

    async readRange(key, offset, target, bytes, signal) {
      try {
        await readAt(key, target, { offset, bytes, isWhole: false }, signal);
      } catch (error) {
        throw fileError(error, 'read', key);
      }
    },

    async get(key, maxBytes, signal) {
      try {
        const { size } = await stat(pathOf(key));
        if (size > maxBytes) {
          throw new PodferryError('OBJECT_CORRUPT', `${key} is larger than ${maxBytes} bytes`, { key });
        }
        const body = Buffer.alloc(size);
        await readAt(key, body, { offset: 0, bytes: size, isWhole: true }, signal);
        return body;
      } catch (error) {
        throw fileError(error, 'read', key);
      }
    },

    async *list(prefix, signal): AsyncGenerator<StoredObject, void, undefined> {
      const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
      try {
        for await (const key of walk(folder === '' ? root : pathOf(folder.slice(0, -1)), folder)) {
          signal.throwIfAborted();
          if (!key.startsWith(prefix)) continue;
          const { size, mtimeMs } = await stat(pathOf(key));
          yield { key, bytes: size, modifiedMs: Math.floor(mtimeMs) };
        }
      } catch (error) {
        throw fileError(error, 'read', prefix);
      }
    },

    async delete(keys, signal) {
      for (const key of keys) {
        signal.throwIfAborted();
        try {
          await rm(pathOf(key), { force: true });
        } catch (error) {
          throw fileError(error, 'write', key);
        }
      }
    },
  };
  return store;
}
