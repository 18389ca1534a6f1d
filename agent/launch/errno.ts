import { constants } from 'node:os';

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** `ENOENT` for 2; node:util's getSystemErrorName knows only those that libuv uses. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}
