import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { paths } from '../../proto/names.ts';
import type { Placeholder } from './placeholder.ts';

/**
 * Lets the startup probe of the container pass: its application runs. The mark names the placeholder, so it means nothing
 * for the container's next start.
 */
export async function markReady(
  container: string,
  placeholder: Placeholder,
  runDir: string = paths.run,
): Promise<void> {
  await mkdir(runDir, { recursive: true, mode: 0o755 });
  const mark = markFile(container, runDir);
  await rm(`${mark}.new`, { force: true });
  await writeFile(`${mark}.new`, `${placeholder.pid} ${placeholder.startTime}\n`, { mode: 0o444, flag: 'wx' });
  await rename(`${mark}.new`, mark);
}

/** Takes the mark back; nothing happens when there is none. */
export async function clearReady(container: string, runDir: string = paths.run): Promise<void> {
  await rm(markFile(container, runDir), { force: true });
}

function markFile(container: string, runDir: string): string {
  return `${runDir}/${container}.ready`;
}
