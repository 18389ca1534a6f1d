import { DeleteObjectCommand, DeleteObjectsCommand, type S3Client } from '@aws-sdk/client-s3';
import { PodferryError } from '../errors.ts';
import type { S3Settings } from './client.ts';
import { statusOf, storeError } from './errors.ts';

/** Most that one request may remove. */
const deletesAtOnce = 1000;
const parallelDeletes = 8;

type Delete = (client: S3Client, bucket: string, keys: readonly string[], signal: AbortSignal) => Promise<void>;

/** How objects are removed from a store with these credentials. */
export function deletesOf({ type, sessionToken }: S3Settings): Delete {
  // Ceph asks for the right to remove several on the bucket itself, which credentials for a prefix do not have.
  return type === 'gcs' || sessionToken !== undefined ? deleteOneByOne : deleteTogether;
}

/**
 * Removes objects, up to a thousand in a request; those that are not there count as removed.
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_WRITE_FAILED; some may be gone by then
 */
export async function deleteTogether(
  client: S3Client,
  Bucket: string,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < keys.length; at += deletesAtOnce) {
    const Objects = keys.slice(at, at + deletesAtOnce).map((Key) => ({ Key }));
    const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } });
    const answer = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
      throw storeError(error, 'write', Objects[0]?.Key ?? '', signal);
    });
    const [failed] = answer.Errors ?? [];
    if (failed !== undefined) {
      const code = failed.Code === 'AccessDenied' ? 'STORE_DENIED' : 'STORE_WRITE_FAILED';
      throw new PodferryError(code, `delete of ${failed.Key}: ${failed.Code}: ${failed.Message}`, { key: failed.Key });
    }
  }
}

/** The same where several cannot be counted on to go in one request; Google's endpoint wants digests for it that have no name in its dialect. */
export async function deleteOneByOne(
  client: S3Client,
  Bucket: string,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < keys.length; at += parallelDeletes) {
    const some = keys.slice(at, at + parallelDeletes).map(async (Key) => {
      try {
        await client.send(new DeleteObjectCommand({ Bucket, Key }), { abortSignal: signal });
      } catch (error) {
        const failure = storeError(error, 'write', Key, signal);
        const isGone = statusOf(error) === 404 && failure instanceof PodferryError && failure.code !== 'STORE_DENIED';
        if (!isGone) throw failure;
      }
    });
    await Promise.all(some);
  }
}
