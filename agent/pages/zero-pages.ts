import { pageBytes } from './page-size.ts';

const zero = Buffer.alloc(pageBytes);
const wordsOfPage = pageBytes / Int32Array.BYTES_PER_ELEMENT;

/** Neighbouring pages that are all alike: zero or not. */
export interface Stretch {
  readonly isZero: boolean;
  readonly pages: number;
}

/** Divides whole pages into stretches. Two words settle it for nearly every page that is not zero. */
export function zeroStretches(bytes: Buffer): Stretch[] {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / Int32Array.BYTES_PER_ELEMENT);
  const pages = bytes.byteLength / pageBytes;
  const stretches: Stretch[] = [];
  let start = 0;
  let startIsZero = false;
  for (let page = 0; page <= pages; page += 1) {
    const isZero =
      page < pages &&
      words[page * wordsOfPage] === 0 &&
      words[page * wordsOfPage + wordsOfPage / 2] === 0 &&
      zero.compare(bytes, page * pageBytes, (page + 1) * pageBytes) === 0;
    if (page === 0) startIsZero = isZero;
    if (page === pages || isZero !== startIsZero) {
      if (page > start) stretches.push({ isZero: startIsZero, pages: page - start });
      start = page;
      startIsZero = isZero;
    }
  }
  return stretches;
}
