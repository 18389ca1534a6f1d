import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogFile } from '../store/logs.ts';

/** CRIU's own, in the folder of its images. */
const names = ['dump.log', 'restore.log'] as const;

/** Of a longer one only the end is kept. */
const maxBytes = 4 * 1024 * 1024;

/** What CRIU wrote while it worked in this folder. Never rejects: a log that cannot be read says so itself. */
export async function readCriuLogs(workDir: string): Promise<LogFile[]> {
  const logs: LogFile[] = [];
  for (const name of names) {
    const content = await readEnd(join(workDir, name));
    if (content !== undefined && content.byteLength > 0) logs.push({ name, content });
  }
  return logs;
}

async function readEnd(path: string): Promise<Buffer | undefined> {
  try {
    return await read(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    return Buffer.from(`it cannot be read: ${String(error)}\n`);
  }
}

async function read(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const content = Buffer.alloc(Math.min(size, maxBytes));
    const { bytesRead } = await file.read(content, 0, content.byteLength, size - content.byteLength);
    return content.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
