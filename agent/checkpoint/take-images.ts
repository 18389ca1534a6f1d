import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodePagemap, type Pagemap } from '../criu/images.ts';
import { readFile } from 'node:fs/promises';
import type { Extent, PageKind, StoredImage } from '../store/manifest.ts';
import { appendExtents, type PackWriter } from '../store/pack-writer.ts';

const chunkBytes = 1024 * 1024;
const pagesName = /^pages-\d+\.img$/;
const pagemapName = /^pagemap-(shmem-)?(\d+)\.img$/;

/** A pagemap that CRIU has written. */
export interface PagemapFile extends Pagemap {
  readonly kind: PageKind;
  readonly id: number;
}

/** @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export async function readPagemaps(workDir: string): Promise<PagemapFile[]> {
  const files: PagemapFile[] = [];
  for (const name of (await readdir(workDir)).toSorted()) {
    const [, shared, id] = pagemapName.exec(name) ?? [];
    if (id === undefined) continue;
    const pagemap = decodePagemap(await readFile(join(workDir, name)));
    files.push({ ...pagemap, kind: shared === undefined ? 'pid' : 'shmem', id: Number(id) });
  }
  return files;
}

/** Stores one file of CRIU's. */
export async function storeFile(path: string, writer: PackWriter): Promise<Extent[]> {
  const at: Extent[] = [];
  const file = await open(path, 'r');
  try {
    const chunks: AsyncIterable<Buffer> = file.createReadStream({ highWaterMark: chunkBytes, autoClose: false });
    for await (const chunk of chunks) appendExtents(at, await writer.write(chunk));
  } finally {
    await file.close();
  }
  return at;
}

/** Stores CRIU's metadata images, without the pages and their maps. */
export async function storeImages(workDir: string, writer: PackWriter): Promise<StoredImage[]> {
  const images: StoredImage[] = [];
  for (const name of (await readdir(workDir)).toSorted()) {
    if (!name.endsWith('.img') || pagesName.test(name) || pagemapName.test(name)) continue;
    images.push({ name, at: await storeFile(join(workDir, name), writer) });
  }
  return images;
}

/** Differs when CRIU has written to any image since. */
export async function stampOfImages(workDir: string): Promise<string> {
  const names = (await readdir(workDir)).filter((name) => name.endsWith('.img')).toSorted();
  const stamps = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeNs } = await stat(join(workDir, name), { bigint: true });
      return `${name} ${size} ${mtimeNs}`;
    }),
  );
  return stamps.join('\n');
}
