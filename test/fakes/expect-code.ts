import { PodferryError, type ErrorCode } from '../../proto/errors.ts';

/** Runs it, and requires that it throws a PodferryError with this code. */
export function isPodferryError(code: ErrorCode, run: () => unknown): PodferryError {
  try {
    run();
  } catch (error) {
    if (error instanceof PodferryError && error.code === code) return error;
    throw error;
  }
  throw new Error(`nothing was thrown instead of ${code}`);
}
