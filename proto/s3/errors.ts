import { PodferryError, type ErrorCode } from '../errors.ts';

type Doing = 'read' | 'write';

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error);

/** HTTP status of an SDK error, or undefined when no answer came. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

function codeOf(error: unknown, doing: Doing): ErrorCode {
  const status = statusOf(error);
  const name = nameOf(error);
  if (status === 401 || status === 403 || name === 'NoSuchBucket' || name === 'CredentialsProviderError') {
    return 'STORE_DENIED';
  }
  if (status === 404 && doing === 'read') return 'OBJECT_MISSING';
  // The part that is asked for begins past the end.
  if (status === 416) return 'OBJECT_CORRUPT';
  if (status === undefined) return 'STORE_UNREACHABLE';
  return doing === 'read' ? 'STORE_READ_FAILED' : 'STORE_WRITE_FAILED';
}

/**
 * Turns what the SDK threw into one of our codes; an aborted call into the reason of its signal.
 * @param key the object's key; it is named in the message
 */
export function storeError(error: unknown, doing: Doing, key: string, signal: AbortSignal): Error {
  if (signal.aborted) return signal.reason instanceof Error ? signal.reason : new Error('aborted');
  if (error instanceof PodferryError) return error;
  const status = statusOf(error);
  const said = error instanceof Error ? error.message : String(error);
  const answer = status === undefined ? 'no answer' : `HTTP ${status}`;
  return new PodferryError(
    codeOf(error, doing),
    `${doing} of ${key}: ${answer}, ${nameOf(error)}: ${said}`,
    { key, status },
    { cause: error },
  );
}

/** Whether a broken read is worth another try: the server answered oddly or not at all, but did not refuse. */
export function isTransient(error: unknown): boolean {
  const status = statusOf(error);
  return status === undefined || status >= 500 || status === 408 || status === 429;
}
