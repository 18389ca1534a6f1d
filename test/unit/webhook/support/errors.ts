import { type ErrorCode, PodferryError } from '../../../../proto/errors.ts';

export function isPodferryError(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof PodferryError && error.code === code;
}
