import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { isDirectoryBucket } from './client.ts';
import { storeError } from './errors.ts';

/** An object as a listing shows it. */
export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** One answer of a listing. */
export interface ListPage {
  readonly objects: readonly StoredObject[];
  /** Whole prefixes, ending in a slash; only where folders were asked for. */
  readonly folders: readonly string[];
  /** What the store's clock said; undefined when it did not say. */
  readonly atMs: number | undefined;
}

interface Middleware {
  add(
    step: (next: (call: unknown) => Promise<unknown>) => (call: unknown) => Promise<unknown>,
    options: { readonly step: 'deserialize'; readonly name: string },
  ): void;
}

/** Milliseconds of the answer's `Date`, which the SDK keeps to itself. */
function dateOf(answer: unknown): number | undefined {
  const { headers } = (answer as { readonly response: { readonly headers: Readonly<Record<string, string>> } })
    .response;
  const ms = Date.parse(headers['date'] ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

/**
 * All objects whose keys begin with `prefix`, page by page, or what lies directly below it: objects and folders.
 * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED
 */
export async function* listPages(
  client: S3Client,
  Bucket: string,
  prefix: string,
  signal: AbortSignal,
  level: 'all' | 'folder' = 'all',
): AsyncGenerator<ListPage, void, undefined> {
  // Directory buckets list by folders only.
  const Prefix = isDirectoryBucket(Bucket) ? prefix.slice(0, prefix.lastIndexOf('/') + 1) : prefix;
  const Delimiter = level === 'folder' ? '/' : undefined;
  let ContinuationToken: string | undefined;
  do {
    const command: ListObjectsV2Command = new ListObjectsV2Command({ Bucket, Prefix, Delimiter, ContinuationToken });
    let atMs: number | undefined;
    (command.middlewareStack as Middleware).add(
      (next) => async (call) => {
        const answer = await next(call);
        atMs = dateOf(answer);
        return answer;
      },
      { step: 'deserialize', name: 'podferryDate' },
    );
    const page = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
      throw storeError(error, 'read', prefix, signal);
    });
    const listed = (page.Contents ?? []).flatMap(({ Key: key, Size: bytes = 0, LastModified }) =>
      key?.startsWith(prefix) === true ? [{ key, bytes, modifiedMs: LastModified?.getTime() ?? 0 }] : [],
    );
    const folders = (page.CommonPrefixes ?? []).flatMap(({ Prefix: folder }) => (folder === undefined ? [] : [folder]));
    yield { objects: listed, folders, atMs };
    ContinuationToken = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (ContinuationToken !== undefined);
}
