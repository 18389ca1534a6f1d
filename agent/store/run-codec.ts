/** Numbers of variable length, 7 bits a byte, lowest first, up to 2^53 - 1: most of a manifest is runs, and JSON of them takes too long in a freeze. */
export class NumberWriter {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #at = 0;

  write(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be stored`);
    if (this.#bytes.byteLength - this.#at < 8) {
      const larger = Buffer.allocUnsafe(this.#bytes.byteLength * 2);
      this.#bytes.copy(larger, 0, 0, this.#at);
      this.#bytes = larger;
    }
    let rest = value;
    // Bit operations are of 32 bits only.
    while (rest >= 0x8000_0000) {
      this.#bytes[this.#at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 128) {
      this.#bytes[this.#at++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

/** Reads what NumberWriter wrote. */
export class NumberReader {
  #at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get bytesLeft(): number {
    return this.bytes.byteLength - this.#at;
  }

  /** @returns undefined when the bytes end or hold no number */
  read(): number | undefined {
    let value = 0;
    for (let factor = 1; factor < 2 ** 56; factor *= 128) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) return undefined;
      value += (byte & 127) * factor;
      if (byte < 128) return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
    }
    return undefined;
  }
}
