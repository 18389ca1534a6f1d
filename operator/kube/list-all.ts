import type { KubeClient } from './client.ts';
import type { KubeObject } from './objects.ts';

const perPage = 500;

interface Page<T> {
  readonly metadata: { readonly continue?: string };
  readonly items: readonly T[] | null;
}

/**
 * What a collection holds now: asked of the server itself, in pages of one moment, for decisions for which a cache may lag too far behind.
 * @throws ApiError, also (410) when the pages took too long; PodferryError INTERNAL when the server does not answer
 */
export async function listAll<T extends KubeObject>(client: KubeClient, path: string): Promise<readonly T[]> {
  const found: T[] = [];
  let next: string | undefined;
  do {
    const query = { limit: perPage, continue: next };
    const page = (await client.call({ method: 'GET', path, query })) as Page<T>;
    found.push(...(page.items ?? []));
    next = page.metadata.continue === '' ? undefined : page.metadata.continue;
  } while (next !== undefined);
  return found;
}
