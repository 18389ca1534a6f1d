import { PodferryError } from '../../proto/errors.ts';

/**
 * What goes over the connection between two agents: objects, one after the other, from the source to the target and nothing
 * back. Each is `u16 key length | u32 body length | key | body`, big-endian. TLS keeps them whole; the end of the connection
 * is the end of the objects. A head of zeroes is the word that the freeze begins.
 */
const headBytes = 6;
export const freezeWord: Uint8Array = new Uint8Array(headBytes);
const maxKeyBytes = 1_024;
/** No object of a checkpoint is larger. */
export const maxBodyBytes = 256 * 1024 * 1024;

/** @throws PodferryError DIRECT_FAILED for what no frame can carry */
export function frameHead(key: string, bodyBytes: number): Buffer {
  const name = Buffer.from(key);
  if (name.byteLength === 0 || name.byteLength > maxKeyBytes || bodyBytes > maxBodyBytes) {
    throw new PodferryError(
      'DIRECT_FAILED',
      `an object of ${bodyBytes} bytes with a key of ${name.byteLength} is not sent`,
    );
  }
  const head = Buffer.alloc(headBytes + name.byteLength);
  head.writeUInt16BE(name.byteLength, 0);
  head.writeUInt32BE(bodyBytes, 2);
  name.copy(head, headBytes);
  return head;
}

export interface FrameSink {
  /** An object comes: where its bytes go; undefined: nowhere. */
  begin(key: string, bytes: number): Buffer | undefined;
  /** Every byte of it has come. */
  end(key: string): void;
  /** The source freezes: from now on nothing matters but what it sends. */
  freezing(): void;
}

interface Open {
  readonly key: string;
  readonly bytes: number;
  readonly body: Buffer | undefined;
  filled: number;
}

/** Takes the bytes of a connection as they come. */
export class FrameReader {
  readonly #sink: FrameSink;
  #head = Buffer.alloc(0);
  #open: Open | undefined;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** The end of something that has begun is still to come. */
  get isInside(): boolean {
    return this.#open !== undefined || this.#head.byteLength > 0;
  }

  /** @throws PodferryError DIRECT_FAILED when this is no frame of ours */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.byteLength > 0)
      rest = this.#open === undefined ? this.#readHead(rest) : this.#readBody(this.#open, rest);
  }

  #readHead(chunk: Buffer): Buffer {
    const have = this.#head.byteLength === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    const keyBytes = have.byteLength < headBytes ? 0 : have.readUInt16BE(0);
    if (have.byteLength >= headBytes && freezeWord.every((byte, at) => have[at] === byte)) {
      this.#head = Buffer.alloc(0);
      this.#sink.freezing();
      return have.subarray(headBytes);
    }
    const isWhole = have.byteLength >= headBytes && have.byteLength >= headBytes + keyBytes;
    if (
      have.byteLength >= headBytes &&
      (keyBytes === 0 || keyBytes > maxKeyBytes || have.readUInt32BE(2) > maxBodyBytes)
    ) {
      throw new PodferryError('DIRECT_FAILED', 'the other agent sent what is no object');
    }
    if (!isWhole) {
      this.#head = Buffer.from(have);
      return have.subarray(have.byteLength);
    }
    const bytes = have.readUInt32BE(2);
    const key = have.toString('utf8', headBytes, headBytes + keyBytes);
    this.#head = Buffer.alloc(0);
    this.#open = { key, bytes, body: this.#sink.begin(key, bytes), filled: 0 };
    if (bytes === 0) this.#end(this.#open);
    return have.subarray(headBytes + keyBytes);
  }

  #readBody(open: Open, chunk: Buffer): Buffer {
    const part = chunk.subarray(0, open.bytes - open.filled);
    if (open.body !== undefined) part.copy(open.body, open.filled);
    open.filled += part.byteLength;
    if (open.filled === open.bytes) this.#end(open);
    return chunk.subarray(part.byteLength);
  }

  #end({ key }: Open): void {
    this.#open = undefined;
    this.#sink.end(key);
  }
}
