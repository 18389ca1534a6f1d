import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { containers, volumes } from '../../../proto/names.ts';
import { patchBetween } from '../../../webhook/patch.ts';
import { isJsonObject } from '../../../webhook/pod-template.ts';

type Named = Readonly<Record<string, unknown>>;

const ours: readonly string[] = [...Object.values(containers), ...Object.values(volumes)];

/** What we add to every pod, written out once, in the goldens of test/golden/inject. */
const wholes = ['minimal', 'guaranteed'].flatMap((golden) => partsOf(golden));

function partsOf(golden: string): { readonly like: string; readonly value: Named }[] {
  const text = readFileSync(join(import.meta.dirname, '..', 'inject', golden, 'after.yaml'), 'utf8');
  const after = parse(text) as { spec: { template: { spec: Record<string, Named[] | undefined> } } };
  const lists = ['containers', 'initContainers', 'volumes'].flatMap((key) => after.spec.template.spec[key] ?? []);
  return lists
    .filter(({ name }) => ours.includes(String(name)))
    .map((value) => ({ like: `${golden}/${String(value['name'])}`, value }));
}

/** The value with each part of ours written as `{ like: <golden>/<name>, but: <operations> }`: the same, to be read. */
export function folded(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(folded);
  if (!isJsonObject(value)) return value;
  const [nearest] = wholes
    .filter((part) => part.value['name'] === value['name'] && !Object.hasOwn(value, 'mountPath'))
    .map((part) => ({ like: part.like, but: patchBetween(part.value, value) }))
    .sort((one, other) => one.but.length - other.but.length);
  if (nearest === undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, folded(inner)]));
  }
  return isDeepStrictEqual(nearest.but, []) ? { like: nearest.like } : nearest;
}
