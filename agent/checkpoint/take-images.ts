import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodePagemap, type Pagemap } from '../criu/images.ts';
import { readLeft, readMappings, withLeft } from '../criu/left-pages.ts';
import type { Extent, PageKind, StoredImage } from '../store/manifest.ts';
import { appendExtents, type PackWriter } from '../store/pack-writer.ts';

const chunkBytes = 1024 * 1024;
const pagesName = /^pages-\d+\.img$/;
const pagemapName = /^pagemap-(shmem-)?(\d+)\.img$/;

// The files are in memory, and the application stands still: to wait for other threads would take far longer than the calls.

/** A pagemap that CRIU has written. */
export interface PagemapFile extends Pagemap {
  readonly kind: PageKind;
  readonly id: number;
}

/** What CRIU has written, with the pages of which it was not told. @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED | CRIU_DUMP_FAILED */
export function readPagemaps(workDir: string): PagemapFile[] {
  const left = readLeft(workDir);
  const files: PagemapFile[] = [];
  for (const name of readdirSync(workDir).toSorted()) {
    const [, shared, id] = pagemapName.exec(name) ?? [];
    if (id === undefined) continue;
    const pagemap = decodePagemap(readFileSync(join(workDir, name)));
    const kind = shared === undefined ? 'pid' : 'shmem';
    const ours = kind === 'pid' ? left.get(Number(id)) : undefined;
    const runs = ours === undefined ? pagemap.runs : withLeft(pagemap.runs, ours, readMappings(workDir, Number(id)));
    files.push({ pagesId: pagemap.pagesId, runs, kind, id: Number(id) });
  }
  return files;
}

/** Stores one file of CRIU's. */
export async function storeFile(path: string, writer: PackWriter): Promise<Extent[]> {
  const at: Extent[] = [];
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(Math.min(statSync(path).size, chunkBytes));
    for (let bytes = readSync(file, chunk); bytes > 0; bytes = readSync(file, chunk)) {
      appendExtents(at, await writer.write(chunk.subarray(0, bytes)));
    }
  } finally {
    closeSync(file);
  }
  return at;
}

/** Stores CRIU's metadata images, without the pages and their maps. */
export async function storeImages(workDir: string, writer: PackWriter): Promise<StoredImage[]> {
  const images: StoredImage[] = [];
  for (const name of readdirSync(workDir).toSorted()) {
    if (!name.endsWith('.img') || pagesName.test(name) || pagemapName.test(name)) continue;
    images.push({ name, at: await storeFile(join(workDir, name), writer) });
  }
  return images;
}

/** Differs when CRIU has written to any image since. */
export function stampOfImages(workDir: string): string {
  const names = readdirSync(workDir).filter((name) => name.endsWith('.img'));
  const stamps = names.toSorted().map((name) => {
    const { size, mtimeNs } = statSync(join(workDir, name), { bigint: true });
    return `${name} ${size} ${mtimeNs}`;
  });
  return stamps.join('\n');
}
