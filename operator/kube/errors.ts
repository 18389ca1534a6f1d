import { PodferryError } from '../../proto/errors.ts';

/** An answer of the API server that is no success. `reason` is Kubernetes' own (`AlreadyExists`, `Invalid`...). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What to do about a failed call. */
export type Remedy = 'requeue' | 'retry' | 'final';

/** 409 on a write of ours: what we knew is out of date; look again at once. */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409 && error.reason !== 'AlreadyExists';
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409 && error.reason === 'AlreadyExists';
}

export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** 410: the resource version is too old to watch from; list again. */
export function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}

/**
 * `requeue`: look again at once; `retry`: with back-off; `final`: the same request will always be refused
 * (400, 403 such as an exhausted quota, 404, 405, 413, 422).
 */
export function remedyFor(error: unknown): Remedy {
  if (error instanceof PodferryError) return error.code === 'INTERNAL' ? 'retry' : 'final';
  if (!(error instanceof ApiError)) return 'retry';
  if (error.status === 409) return 'requeue';
  return [400, 403, 404, 405, 413, 422].includes(error.status) ? 'final' : 'retry';
}
