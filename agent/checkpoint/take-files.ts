import type { Extent } from '../store/manifest.ts';
import { appendExtents, type PackWriter } from '../store/pack-writer.ts';
import type { TakeOptions } from './take-options.ts';

export interface StoredFiles {
  readonly archive: readonly Extent[];
  readonly deleted: readonly string[];
  readonly bytes: number;
}

/** Stores the changed files. @throws what the caller's callback or stream throws, or why the checkpoint failed */
export async function storeFiles(
  options: TakeOptions,
  writer: PackWriter,
  signal: AbortSignal,
): Promise<StoredFiles | undefined> {
  if (options.files === undefined) return undefined;
  const captured = await options.files(signal);
  if (captured === undefined) return undefined;
  const { archive, deleted } = captured;
  const stop = (): void => void archive.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener('abort', stop, { once: true });
  const at: Extent[] = [];
  let bytes = 0;
  try {
    signal.throwIfAborted();
    for await (const chunk of archive as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      appendExtents(at, await writer.write(chunk));
    }
  } finally {
    signal.removeEventListener('abort', stop);
    archive.destroy();
  }
  writer.seal();
  return { archive: at, deleted, bytes };
}
