import { PodferryError } from '../../proto/errors.ts';
import { pageBytes } from '../pages/page-size.ts';

/**
 * CRIU's page-xfer protocol as of 4.2: a dumping CRIU sends 32-byte little-endian headers
 * `u32 command | flags << 16; u32 padding; u64 pages; u64 address; u64 destination`.
 * @see checkpoint-restore/criu criu/page-xfer.c (v4.2); before 4.2 the header had 24 bytes
 */
export const headerBytes = 32;

/** Commands that occur with a dump to a page server. */
export const command = {
  parent: 5,
  open: 4,
  add: 6,
  close: 0x1023,
  forceClose: 0x1024,
} as const;

/** Flags of a pagemap entry, criu/include/pagemap.h. */
export const pageFlags = { parent: 1, lazy: 2, present: 4 } as const;

export interface Header {
  readonly command: number;
  readonly flags: number;
  readonly pages: number;
  /** Address / pageBytes. */
  readonly page: number;
  /** An image (imageOf). */
  readonly destination: bigint;
}

const kinds = { 1: 'pid', 2: 'shmem' } as const;
const maxPage = 2n ** 52n;
const maxId = BigInt(Number.MAX_SAFE_INTEGER);

const broken = (what: string): PodferryError => new PodferryError('PAGE_PROTOCOL', `CRIU sent ${what}`);

/** @throws PodferryError PAGE_PROTOCOL when a field is beyond what can be */
export function decodeHeader(bytes: Buffer, offset = 0): Header {
  const word = bytes.readUInt32LE(offset);
  const pages = bytes.readBigUInt64LE(offset + 8);
  const address = bytes.readBigUInt64LE(offset + 16);
  const page = address / BigInt(pageBytes);
  if (pages > maxPage) throw broken(`a count of ${pages} pages`);
  if (address % BigInt(pageBytes) !== 0n || page + pages > maxPage) throw broken(`the address ${address}`);
  return {
    command: word & 0xffff,
    flags: word >>> 16,
    pages: Number(pages),
    page: Number(page),
    destination: bytes.readBigUInt64LE(offset + 24),
  };
}

export function encodeHeader(header: Header): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.writeUInt32LE(((header.flags << 16) | header.command) >>> 0, 0);
  bytes.writeBigUInt64LE(BigInt(header.pages), 8);
  bytes.writeBigUInt64LE(BigInt(header.page) * BigInt(pageBytes), 16);
  bytes.writeBigUInt64LE(header.destination, 24);
  return bytes;
}

/** The image a destination names. @throws PodferryError PAGE_PROTOCOL */
export function imageOf(destination: bigint): { kind: 'pid' | 'shmem'; id: number } {
  const type = Number(destination & 0xffn);
  const id = destination >> 8n;
  if ((type !== 1 && type !== 2) || id > maxId) throw broken(`the destination ${destination}`);
  return { kind: kinds[type], id: Number(id) };
}

/** Who receives messages and gives the memory for their content. */
export interface PageSink {
  /** A message; its content, if any, follows. */
  message(header: Header): void;
  /** Where content goes next: at least a byte, at most `bytes`; undefined while there is no memory. */
  room(bytes: number): Uint8Array | undefined;
  /** That many bytes of room were filled. */
  filled(bytes: number): void;
}

/** Parses what a dumping CRIU sends. Content either is copied by feed, or is received straight into direct(). */
export class PageXferParser {
  readonly #sink: PageSink;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFill = 0;
  #content = 0;

  constructor(sink: PageSink) {
    this.#sink = sink;
  }

  /** Bytes of content that the current message still owes. */
  get content(): number {
    return this.#content;
  }

  /** Whether the stream may end here. */
  get atBoundary(): boolean {
    return this.#headerFill === 0 && this.#content === 0;
  }

  /** Memory for the next bytes from the socket, when these are content and at least `atLeast` of it is due. */
  direct(atLeast: number): Uint8Array | undefined {
    return this.#content < Math.max(atLeast, 1) ? undefined : this.#sink.room(this.#content);
  }

  /** That many bytes came into direct(). */
  advance(bytes: number): void {
    this.#content -= bytes;
    this.#sink.filled(bytes);
  }

  /**
   * Takes bytes of the stream in order.
   * @returns how many; fewer than given when the sink has no room, then feed the rest again later
   * @throws PodferryError PAGE_PROTOCOL
   */
  feed(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#content > 0) {
        const room = this.#sink.room(Math.min(this.#content, chunk.byteLength - at));
        if (room === undefined) break;
        const bytes = Math.min(room.byteLength, this.#content, chunk.byteLength - at);
        room.set(chunk.subarray(at, at + bytes));
        at += bytes;
        this.advance(bytes);
      } else {
        const bytes = Math.min(headerBytes - this.#headerFill, chunk.byteLength - at);
        this.#header.set(chunk.subarray(at, at + bytes), this.#headerFill);
        at += bytes;
        this.#headerFill += bytes;
        if (this.#headerFill === headerBytes) this.#message();
      }
    }
    return at;
  }

  #message(): void {
    this.#headerFill = 0;
    const header = decodeHeader(this.#header);
    if (header.command === command.add && (header.flags & pageFlags.present) !== 0) {
      this.#content = header.pages * pageBytes;
      if (!Number.isSafeInteger(this.#content)) throw broken(`a message of ${header.pages} pages`);
    }
    this.#sink.message(header);
  }
}
