import type { FileHandle } from 'node:fs/promises';
import { PodferryError } from '../../proto/errors.ts';

const blockBytes = 512;

const octal = (value: number, bytes: number): string => `${value.toString(8).padStart(bytes - 1, '0')}\0`;
const paddingOf = (bytes: number): number => (blockBytes - (bytes % blockBytes)) % blockBytes;

/** Writes a ustar archive that any tar can read; names of up to 100 ASCII characters. */
export class TarWriter {
  constructor(readonly file: FileHandle) {}

  async add(name: string, content: Uint8Array): Promise<void> {
    const head = Buffer.alloc(blockBytes);
    head.write(name, 0, 'ascii');
    head.write(octal(0o600, 8), 100, 'ascii');
    head.write(octal(0, 8), 108, 'ascii');
    head.write(octal(0, 8), 116, 'ascii');
    head.write(octal(content.byteLength, 12), 124, 'ascii');
    head.write(octal(0, 12), 136, 'ascii');
    head.write('0', 156, 'ascii');
    head.write('ustar\u000000', 257, 'ascii');
    head.fill(' ', 148, 156);
    head.write(`${octal(sumOf(head), 7)} `, 148, 'ascii');
    for (const part of [head, content, Buffer.alloc(paddingOf(content.byteLength))]) await this.file.writeFile(part);
  }

  async end(): Promise<void> {
    await this.file.writeFile(Buffer.alloc(2 * blockBytes));
  }
}

const sumOf = (head: Buffer): number => head.reduce((sum, byte) => sum + byte, 0);

const broken = (why: string): PodferryError =>
  new PodferryError('OBJECT_CORRUPT', `the archive cannot be read: ${why}`);

/** Reads what TarWriter wrote, member by member. */
export class TarReader {
  #at = 0;
  constructor(readonly file: FileHandle) {}

  /** @param maxBytes of a member @returns undefined at the end @throws PodferryError OBJECT_CORRUPT */
  async next(maxBytes: number): Promise<{ readonly name: string; readonly content: Buffer } | undefined> {
    const head = await this.#read(blockBytes);
    if (head.every((byte) => byte === 0)) return undefined;
    const text = (from: number, to: number): string =>
      head.subarray(from, to).toString('ascii').split('\0', 1)[0] ?? '';
    const sum = Number.parseInt(text(148, 156), 8);
    head.fill(' ', 148, 156);
    if (sum !== sumOf(head)) throw broken('a member has no valid head');
    const bytes = Number.parseInt(text(124, 136), 8);
    if (!(bytes >= 0 && bytes <= maxBytes)) throw broken(`a member has ${bytes} bytes`);
    const content = await this.#read(bytes);
    this.#at += paddingOf(bytes);
    return { name: text(0, 100), content };
  }

  async #read(bytes: number): Promise<Buffer> {
    const content = Buffer.alloc(bytes);
    for (let done = 0; done < bytes;) {
      const { bytesRead } = await this.file.read(content, done, bytes - done, this.#at + done);
      if (bytesRead === 0) throw broken('it ends too early');
      done += bytesRead;
    }
    this.#at += bytes;
    return content;
  }
}
