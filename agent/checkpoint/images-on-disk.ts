import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { encodePagemap } from '../criu/images.ts';
import { pageBytes } from '../pages/page-size.ts';
import { compactPagemap } from '../pages/pagemap-compact.ts';
import type { Manifest, StoredImage } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import type { PageRun } from '../store/page-runs.ts';

const imagesAtATime = 8;
const zeroes = Buffer.alloc(256 * pageBytes);

// The files are in memory, and the application stands still: to wait for other threads would take far longer than the calls.

async function withNewFile(path: string, use: (file: number) => Promise<void> | void): Promise<void> {
  const file = openSync(path, 'wx', 0o600);
  try {
    await use(file);
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength;) at += writeSync(file, bytes, at);
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
    for await (const part of reader.parts(at)) writeAll(file, part);
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

async function writeRun(file: number, run: PageRun, reader: PackReader): Promise<void> {
  const bytes = run.pages * pageBytes;
  if (run.pack < 0) {
    for (let left = bytes; left > 0; left -= zeroes.byteLength) writeAll(file, zeroes.subarray(0, left));
    return;
  }
  for await (const part of reader.parts([{ pack: run.pack, offset: run.at * pageBytes, bytes }])) {
    writeAll(file, part);
  }
}
