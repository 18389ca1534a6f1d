import { isDeepStrictEqual } from 'node:util';
import { createPatch, type Operation, type Pointer } from 'rfc6902';
import { isJsonObject } from './pod-template.ts';

/**
 * The RFC 6902 operations that make `after` of `before`; linear in their size. Items of a list are paired by their name
 * as the API server's merge does; a list whose items have none is replaced as a whole. (rfc6902's own comparison of
 * lists is quadratic in time and recursive in depth: seconds for a Deployment with many containers.)
 */
export function patchBetween(before: unknown, after: unknown): Operation[] {
  return createPatch(before, after, diff);
}

function diff(before: unknown, after: unknown, at: Pointer): Operation[] | undefined {
  if (before === after) return [];
  if (!Array.isArray(before) || !Array.isArray(after)) return undefined;
  if (isDeepStrictEqual(before, after)) return [];
  const path = at.toString();
  const [from, to] = [keysOf(before), keysOf(after)];
  return from === undefined || to === undefined
    ? [{ op: 'replace', path, value: after }]
    : listOperations({ items: before, keys: from }, { items: after, keys: to }, path);
}

interface Keyed {
  readonly items: readonly unknown[];
  readonly keys: readonly string[];
}

function listOperations(before: Keyed, after: Keyed, path: string): Operation[] {
  const operations: Operation[] = [];
  const kept = longestInOrder(before.keys, after.keys);
  for (let index = before.keys.length - 1; index >= 0; index -= 1) {
    if (!kept.has(before.keys[index] ?? '')) operations.push({ op: 'remove', path: `${path}/${index}` });
  }
  const items = new Map(before.keys.map((key, index) => [key, before.items[index]]));
  for (const [index, key] of after.keys.entries()) {
    const item = after.items[index];
    if (kept.has(key)) {
      const inner = patchBetween(items.get(key), item);
      operations.push(...inner.map((one) => ({ ...one, path: `${path}/${index}${one.path}` })));
    } else {
      operations.push({ op: 'add', path: `${path}/${index}`, value: item });
    }
  }
  return operations;
}

/** The most keys that stand in both lists in the same order: what can stay while the others are taken out and put in. */
function longestInOrder(before: readonly string[], after: readonly string[]): ReadonlySet<string> {
  const places = new Map(after.map((key, index) => [key, index]));
  interface Run {
    readonly key: string;
    readonly place: number;
    readonly previous: Run | undefined;
  }
  /** Of the runs of each length the one that ends earliest. */
  const ends: Run[] = [];
  for (const key of before) {
    const place = places.get(key);
    if (place === undefined) continue;
    let low = 0;
    for (let high = ends.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((ends[middle]?.place ?? 0) < place) low = middle + 1;
      else high = middle;
    }
    ends[low] = { key, place, previous: ends[low - 1] };
  }
  const kept = new Set<string>();
  for (let run = ends.at(-1); run !== undefined; run = run.previous) kept.add(run.key);
  return kept;
}

/** @returns undefined when an item has no key or two have the same */
function keysOf(list: readonly unknown[]): readonly string[] | undefined {
  const keys = list.map((item) => {
    if (!isJsonObject(item)) return undefined;
    const key = item['mountPath'] ?? item['conditionType'] ?? item['name'];
    return typeof key === 'string' ? key : undefined;
  });
  const known = keys.filter((key) => key !== undefined);
  return known.length === keys.length && new Set(known).size === known.length ? known : undefined;
}
