import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { encodePagemap } from '../criu/images.ts';
import { pageBytes } from '../pages/page-size.ts';
import { compactPagemap } from '../pages/pagemap-compact.ts';
import type { Manifest, PageRun, StoredImage } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';

const imagesAtATime = 8;
const zeroes = Buffer.alloc(256 * pageBytes);

async function withNewFile(path: string, use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await use(file);
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += (await file.write(bytes, at)).bytesWritten;
}

/** Writes CRIU's metadata images. @throws PodferryError of the store, or of a pack that is not what was stored */
export async function writeImages(manifest: Manifest, reader: PackReader, dir: string): Promise<void> {
  reader.prefetch(manifest.images.flatMap((image) => image.at.map((extent) => extent.pack)));
  // Each holds one pack at a time, and most lie in the same one.
  for (let i = 0; i < manifest.images.length; i += imagesAtATime) {
    const images = manifest.images.slice(i, i + imagesAtATime);
    await Promise.all(images.map((image) => writeImage(image, reader, dir)));
  }
}

async function writeImage({ name, at }: StoredImage, reader: PackReader, dir: string): Promise<void> {
  await withNewFile(join(dir, name), async (file) => {
    for await (const part of reader.parts(at)) await writeAll(file, part);
  });
}

/** Writes the pagemaps, and of the pages only those that CRIU itself puts in. @throws as writeImages */
export async function writePagemaps(manifest: Manifest, reader: PackReader, dir: string): Promise<void> {
  for (const [i, image] of manifest.pages.entries()) {
    const pagesId = i + 1;
    const { name, pagemap, local } = compactPagemap(image);
    await withNewFile(join(dir, name), (file) => writeAll(file, encodePagemap({ pagesId, runs: pagemap })));
    await withNewFile(join(dir, `pages-${pagesId}.img`), async (file) => {
      for (const run of local) await writeRun(file, run, reader);
    });
  }
}

async function writeRun(file: FileHandle, run: PageRun, reader: PackReader): Promise<void> {
  const bytes = run.pages * pageBytes;
  if (run.pack < 0) {
    for (let left = bytes; left > 0; left -= zeroes.byteLength) await writeAll(file, zeroes.subarray(0, left));
    return;
  }
  for await (const part of reader.parts([{ pack: run.pack, offset: run.at * pageBytes, bytes }])) {
    await writeAll(file, part);
  }
}
