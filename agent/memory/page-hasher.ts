import { pageBytes } from '../pages/page-size.ts';
import { hashModule } from './hash-module.ts';

const wasmPageBytes = 65_536;
const wordsOfHash = 2;

/** Node has WebAssembly; the types of the language without a browser do not. */
interface WebAssemblyApi {
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Instance: new (
    module: object,
    imports: Record<string, object>,
  ) => { readonly exports: { readonly hash: (from: number, pages: number, to: number, seed: bigint) => void } };
}

/** Hashes pages in memory of its own, which is to be filled in place: 64 bits each, 0 for a page of zeroes and for no other. */
export class PageHasher {
  /** Room for the pages. */
  readonly memory: Buffer;
  /** Two words for each page, valid after hash(). */
  readonly hashes: Int32Array;
  readonly #hash: (from: number, pages: number, to: number, seed: bigint) => void;
  readonly #hashesAt: number;

  /** @param seed secret, so that no application can make two pages that look alike */
  constructor(
    readonly pages: number,
    readonly seed: bigint,
  ) {
    const { WebAssembly: wasm } = globalThis as unknown as { WebAssembly: WebAssemblyApi };
    this.#hashesAt = pages * pageBytes;
    const size = Math.ceil((this.#hashesAt + pages * wordsOfHash * 4) / wasmPageBytes);
    const memory = new wasm.Memory({ initial: size, maximum: size });
    const instance = new wasm.Instance(new wasm.Module(hashModule()), { env: { memory } });
    this.#hash = instance.exports.hash;
    this.memory = Buffer.from(memory.buffer, 0, this.#hashesAt);
    this.hashes = new Int32Array(memory.buffer, this.#hashesAt, pages * wordsOfHash);
  }

  /** Hashes pages `first` to `first + pages - 1`. @throws RangeError outside the memory */
  hash(first: number, pages: number): void {
    if (first < 0 || pages < 1 || first + pages > this.pages) throw new RangeError(`no pages ${first} + ${pages}`);
    this.#hash(first * pageBytes, pages, this.#hashesAt + first * wordsOfHash * 4, BigInt.asIntN(64, this.seed));
  }
}

/** Of one step of hashPages: what fits a processor's own cache. */
const stepPages = 64;
let lastHasher: PageHasher | undefined;

/** Hashes the whole pages of memory that lies anywhere, two words each into `hashes`. */
export function hashPages(memory: Buffer, seed: bigint, hashes: Int32Array): void {
  // Compiled once for each thread.
  lastHasher = lastHasher?.seed === seed ? lastHasher : new PageHasher(stepPages, seed);
  const whole = Math.floor(memory.byteLength / pageBytes);
  for (let page = 0; page < whole; page += stepPages) {
    const pages = Math.min(stepPages, whole - page);
    lastHasher.memory.set(memory.subarray(page * pageBytes, (page + pages) * pageBytes));
    lastHasher.hash(0, pages);
    hashes.set(lastHasher.hashes.subarray(0, wordsOfHash * pages), wordsOfHash * page);
  }
}
