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

/** The code of what a promise rejects with, or what it was instead; `undefined` as a text when it did not reject. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof PodferryError ? error.code : String(error);
}
