import { open, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { placeOfManifest } from '../../proto/store-layout.ts';
import { logKeys } from '../store/logs.ts';
import { maxManifestBytes, sealedBytes, sha256Hex } from '../store/manifest.ts';
import type { Store } from '../store/store.ts';
import type { KeyFor } from './keys.ts';
import { openCheckpoint } from './open.ts';
import { TarReader, TarWriter } from './tar.ts';

const indexName = 'index.json';

const index = z.object({
  podferry: z.literal('checkpoint'),
  /** Members of the archive, in order; the manifest is the last. */
  objects: z.array(z.object({ name: z.string(), key: z.string().min(1), sha256: z.string() })).min(1),
});
type Index = z.infer<typeof index>;

/**
 * Writes a checkpoint into one file, a tar: an index, the packs, the logs, the manifest; all sealed as they are stored.
 * @throws PodferryError of the manifest or the store; OBJECT_CORRUPT. No file is left then.
 */
export async function exportCheckpoint(
  store: Store,
  manifestKey: string,
  keyFor: KeyFor,
  to: string,
  signal: AbortSignal,
): Promise<number> {
  const { manifest, bytes } = await openCheckpoint(store, manifestKey, keyFor, signal);
  const logs: { readonly name: string; readonly key: string; readonly body: Buffer }[] = [];
  const place = placeOfManifest(manifestKey);
  for (const [i, key] of (place === undefined ? [] : await logKeys(store, place, signal)).entries()) {
    logs.push({ name: `log-${i}`, key, body: Buffer.from(await store.get(key, maxManifestBytes, signal)) });
  }
  const objects = [
    ...manifest.packs.map(({ key, sha256 }, i) => ({ name: `pack-${i}`, key, sha256 })),
    ...logs.map(({ name, key, body }) => ({ name, key, sha256: sha256Hex(body) })),
    { name: 'manifest', key: manifestKey, sha256: sha256Hex(bytes) },
  ];
  const draft = `${to}.part`;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      const tar = new TarWriter(file);
      await tar.add(indexName, Buffer.from(JSON.stringify({ podferry: 'checkpoint', objects } satisfies Index)));
      for (const [i, pack] of manifest.packs.entries()) {
        const body = Buffer.alloc(sealedBytes(pack));
        await store.read(pack.key, body, body.byteLength, signal);
        if (sha256Hex(body) !== pack.sha256) throw changed(pack.key);
        await tar.add(`pack-${i}`, body);
      }
      for (const { name, body } of logs) await tar.add(name, body);
      await tar.add('manifest', bytes);
      await tar.end();
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, to);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return objects.length;
}

const changed = (key: string): PodferryError =>
  new PodferryError('OBJECT_CORRUPT', `${key} is not what was stored`, { key });

async function readIndex(tar: TarReader): Promise<Index> {
  const first = await tar.next(maxManifestBytes);
  try {
    if (first?.name === indexName) return index.parse(JSON.parse(first.content.toString('utf8')));
  } catch (error) {
    throw new PodferryError('OBJECT_CORRUPT', 'the index of the archive cannot be read', {}, { cause: error });
  }
  throw new PodferryError('OBJECT_CORRUPT', 'the file is no exported checkpoint');
}

/**
 * Puts the objects of an exported checkpoint back under their keys; the manifest last, so that it exists only when it is complete.
 * @throws PodferryError OBJECT_CORRUPT | STORE_*; packs may be there by then, but no manifest
 */
export async function importCheckpoint(store: Store, from: string, signal: AbortSignal): Promise<number> {
  const file = await open(from, 'r');
  try {
    const tar = new TarReader(file);
    const { objects } = await readIndex(tar);
    for (const [i, { name, key, sha256 }] of objects.entries()) {
      const member = await tar.next(maxManifestBytes);
      if (member?.name !== name || sha256Hex(member.content) !== sha256) throw changed(key);
      if (i < objects.length - 1) await store.put(key, member.content, { sha256, signal });
      else await store.putOnce(key, member.content, { sha256, signal });
    }
    return objects.length;
  } finally {
    await file.close();
  }
}
