/**
 * Keeps one copy of each plain object of the model, so that equal parts of states are the same object, and numbers them.
 * Objects are equal when their fields are, in the same order; they are never changed.
 */
const copies = new Map<string, object>();
const ids = new WeakMap<object, number>();

export function intern<T extends object>(part: T): T {
  if (ids.has(part)) return part;
  let key = Array.isArray(part) ? '[' : '{';
  let isWhole = true;
  const whole: Record<string, unknown> = {};
  for (const field in part) {
    const value: unknown = part[field];
    if (value === undefined) continue;
    const isObject = typeof value === 'object' && value !== null;
    const inner = isObject ? intern(value) : value;
    if (inner !== value) isWhole = false;
    whole[field] = inner;
    key += `${field}:${isObject ? `#${ids.get(inner as object)}` : JSON.stringify(value)},`;
  }
  const known = copies.get(key);
  if (known !== undefined) return known as T;
  const copy = isWhole ? part : ((Array.isArray(part) ? Object.values(whole) : whole) as T);
  copies.set(key, copy);
  ids.set(copy, copies.size);
  return copy;
}

/** @returns undefined for an object that was not interned */
export function idOf(part: object): number | undefined {
  return ids.get(part);
}
