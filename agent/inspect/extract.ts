import { mkdir, open, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { placeOfManifest } from '../../proto/store-layout.ts';
import { pageBytes } from '../pages/page-size.ts';
import { BufferPool } from '../store/buffer-pool.ts';
import { readLogs } from '../store/logs.ts';
import { packBytes, type Extent } from '../store/manifest.ts';
import { PackReader } from '../store/pack-reader.ts';
import type { Store } from '../store/store.ts';
import type { KeyFor } from './keys.ts';
import { openCheckpoint } from './open.ts';

const packsInMemory = 4;

async function copyTo(file: FileHandle, reader: PackReader, extents: readonly Extent[]): Promise<void> {
  for await (const part of reader.parts(extents)) await file.writeFile(part);
}

async function withFile(path: string, use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}

/**
 * Writes what a checkpoint holds, opened, into a folder that must not hold it yet: manifest.json, images/, files.tar, pages/<kind>-<id> (the
 * pages of its runs one after the other, zeroes as holes), and logs/ when there are any.
 * @throws PodferryError of the manifest, its packs or the store
 */
export async function extractCheckpoint(
  store: Store,
  manifestKey: string,
  keyFor: KeyFor,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  const { manifest, sealing } = await openCheckpoint(store, manifestKey, keyFor, signal);
  const pool = new BufferPool(packsInMemory, packBytes);
  const reader = new PackReader({ store, packs: manifest.packs, pool, sealing, signal });
  await mkdir(join(to, 'images'), { recursive: true, mode: 0o700 });
  await mkdir(join(to, 'pages'), { recursive: true, mode: 0o700 });
  await writeFile(join(to, 'manifest.json'), JSON.stringify(manifest, undefined, 2), { mode: 0o600, flag: 'wx' });
  for (const { name, at } of manifest.images) {
    await withFile(join(to, 'images', name), async (file) => copyTo(file, reader, at));
  }
  const { files } = manifest;
  if (files !== undefined) await withFile(join(to, 'files.tar'), async (file) => copyTo(file, reader, files.archive));
  for (const { kind, id, runs } of manifest.pages) {
    await withFile(join(to, 'pages', `${kind}-${id}`), async (file) => {
      let at = 0;
      for (const run of runs) {
        const bytes = run.pages * pageBytes;
        if (run.pack >= 0) {
          const held = await reader.hold(run.pack);
          await file.write(held, run.at * pageBytes, bytes, at);
          reader.release(run.pack);
        }
        at += bytes;
      }
      await file.truncate(at);
    });
  }
  // Last: what is wrong with them must not keep anybody from the checkpoint itself.
  const place = placeOfManifest(manifestKey);
  const logs = place === undefined ? [] : await readLogs(store, place, sealing, signal);
  if (logs.length > 0) await mkdir(join(to, 'logs'), { mode: 0o700 });
  for (const { name, content } of logs) {
    await withFile(join(to, 'logs', name), async (file) => file.writeFile(content));
  }
}
