import { randomBytes, webcrypto } from 'node:crypto';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3Settings } from '../../agent/store/s3.ts';
import type { Store } from '../../agent/store/store.ts';

/** As the agent's packs, so that plain CRIU's files travel no slower for being cut otherwise. */
const partBytes = 8 * 1024 * 1024;
const parallel = 6;

const never = new AbortController().signal;

/** Of the variables that hack/testbed/testbed.sh env prints. @throws Error when one is missing */
export function s3Settings(env: Readonly<Record<string, string | undefined>>): S3Settings {
  const needed = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === '') throw new Error(`${name} is not set: run this by hack/bench.sh`);
    return value;
  };
  return {
    endpoint: needed('PODFERRY_S3_ENDPOINT'),
    region: needed('PODFERRY_S3_REGION'),
    bucket: needed('PODFERRY_S3_BUCKET'),
    accessKeyId: needed('PODFERRY_S3_ACCESS_KEY_ID'),
    secretAccessKey: needed('PODFERRY_S3_SECRET_ACCESS_KEY'),
    forcePathStyle: true,
  };
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex');
}

/** Does the work of a list, so many at a time. */
async function inParallel<T>(list: readonly T[], work: (item: T, worker: number) => Promise<void>): Promise<void> {
  const queue = list.values();
  await Promise.all(
    Array.from({ length: parallel }, async (_, worker) => {
      for (const item of queue) await work(item, worker);
    }),
  );
}

/** Milliseconds that the work took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

const newBuffers = (bytes: number): Buffer<ArrayBuffer>[] =>
  Array.from({ length: parallel }, () => Buffer.allocUnsafeSlow(bytes).fill(1));

/** Puts so many random bytes from memory, their digests known before: what store and HTTP path can do at most. @returns ms */
export async function uploadRandom(store: Store, prefix: string, bytes: number): Promise<number> {
  const parts = newBuffers(partBytes).map((buffer) => Buffer.from(randomBytes(buffer.byteLength)));
  const digests = await Promise.all(parts.map(digest));
  const keys = Array.from({ length: Math.ceil(bytes / partBytes) }, (_, i) => `${prefix}${i}`);
  return timed(() =>
    inParallel(keys, async (key, worker) => {
      const body = parts[worker];
      const sha256 = digests[worker];
      if (body !== undefined && sha256 !== undefined) await store.put(key, body, { sha256, signal: never });
    }),
  );
}

/** A file in the store, in parts. */
export interface StoredFile {
  readonly name: string;
  readonly bytes: number;
}

interface Part {
  readonly key: string;
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

const partsOf = (prefix: string, files: readonly StoredFile[]): Part[] =>
  files.flatMap(({ name, bytes }) =>
    Array.from({ length: Math.ceil(bytes / partBytes) }, (_, i) => ({
      key: `${prefix}${name}/${i}`,
      name,
      offset: i * partBytes,
      bytes: Math.min(partBytes, bytes - i * partBytes),
    })),
  );

async function withFiles(
  dir: string,
  files: readonly StoredFile[],
  flags: 'r' | 'w',
  work: (handleOf: (name: string) => Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const handles = new Map(
    await Promise.all(files.map(async ({ name }) => [name, await open(join(dir, name), flags)] as const)),
  );
  try {
    await work((name) => {
      const handle = handles.get(name);
      if (handle === undefined) throw new Error(`${name} is not open`);
      return handle;
    });
  } finally {
    for (const handle of handles.values()) await handle.close();
  }
}

/** Puts all files of a folder. */
export async function uploadFolder(store: Store, prefix: string, dir: string): Promise<readonly StoredFile[]> {
  const files = await Promise.all(
    (await readdir(dir)).map(async (name) => ({ name, bytes: (await stat(join(dir, name))).size })),
  );
  const buffers = newBuffers(partBytes);
  await withFiles(dir, files, 'r', (handleOf) =>
    inParallel(partsOf(prefix, files), async ({ key, name, offset, bytes }, worker) => {
      const body = buffers[worker]?.subarray(0, bytes);
      if (body === undefined) return;
      await handleOf(name).read(body, 0, bytes, offset);
      await store.put(key, body, { sha256: await digest(body), signal: never });
    }),
  );
  return files;
}

/** Gets the files of uploadFolder into an empty folder, which it makes. */
export async function downloadFolder(
  store: Store,
  prefix: string,
  dir: string,
  files: readonly StoredFile[],
): Promise<void> {
  await mkdir(dir);
  const buffers = newBuffers(partBytes);
  await withFiles(dir, files, 'w', (handleOf) =>
    inParallel(partsOf(prefix, files), async ({ key, name, offset, bytes }, worker) => {
      const target = buffers[worker];
      if (target === undefined) return;
      await store.read(key, target, bytes, never);
      await handleOf(name).write(target, 0, bytes, offset);
    }),
  );
}

/** Removes all objects below a prefix. */
export async function deleteBelow(store: Store, prefix: string): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, never)) keys.push(key);
  if (keys.length > 0) await store.delete(keys, never);
}
