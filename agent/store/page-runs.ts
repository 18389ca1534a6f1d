import { pageFlags } from '../criu/page-xfer.ts';

/** In place of a pack's index: the pages are all zeroes and stored nowhere. */
export const zeroPack = -1;

/** Neighbouring pages of one image that lie together in one pack. */
export interface PageRun {
  /** Number of the first page: address / pageBytes (of a shared segment: offset / pageBytes). */
  readonly page: number;
  readonly pages: number;
  /** CRIU's PE_LAZY and PE_PRESENT. */
  readonly flags: number;
  /** Index into packs, or zeroPack. */
  readonly pack: number;
  /** Where in the pack, in pages. */
  readonly at: number;
}

/** Of a run, in the order of PageRun's members. */
export const numbersOfRun = 5;

/**
 * The runs of one image, ascending and disjoint. Fragmented memory has hundreds of thousands: they are numbers in one array, since to make an object
 * of each takes longer than the rest of a freeze. Who goes through all of them in a freeze asks for numbers, by the index of the run.
 */
export class PageRuns implements Iterable<PageRun> {
  /** @param numbers numbersOfRun for each run */
  constructor(readonly numbers: Float64Array) {}

  static of(runs: Iterable<PageRun>): PageRuns {
    return new PageRuns(
      Float64Array.from([...runs].flatMap(({ page, pages, flags, pack, at }) => [page, pages, flags, pack, at])),
    );
  }

  get length(): number {
    return this.numbers.length / numbersOfRun;
  }

  page(i: number): number {
    return this.numbers[i * numbersOfRun] ?? Number.NaN;
  }

  pages(i: number): number {
    return this.numbers[i * numbersOfRun + 1] ?? Number.NaN;
  }

  /** The page after its last one. */
  end(i: number): number {
    return this.page(i) + this.pages(i);
  }

  flags(i: number): number {
    return this.numbers[i * numbersOfRun + 2] ?? Number.NaN;
  }

  pack(i: number): number {
    return this.numbers[i * numbersOfRun + 3] ?? Number.NaN;
  }

  at(i: number): number {
    return this.numbers[i * numbersOfRun + 4] ?? Number.NaN;
  }

  /** Content that a lazy restore puts in later. A page of zeroes needs nothing: what never comes reads so. */
  comesLater(i: number): boolean {
    return (this.flags(i) & pageFlags.lazy) !== 0 && this.pack(i) !== zeroPack;
  }

  /** Whether anything of them comes later. */
  get hasLater(): boolean {
    for (let i = 0; i < this.length; i += 1) if (this.comesLater(i)) return true;
    return false;
  }

  run(i: number): PageRun {
    return { page: this.page(i), pages: this.pages(i), flags: this.flags(i), pack: this.pack(i), at: this.at(i) };
  }

  *[Symbol.iterator](): Iterator<PageRun> {
    for (let i = 0; i < this.length; i += 1) yield this.run(i);
  }

  /** How many pages these are. */
  get allPages(): number {
    let sum = 0;
    for (let i = 0; i < this.length; i += 1) sum += this.pages(i);
    return sum;
  }

  /** Those that come later. */
  later(): PageRuns {
    const numbers = new Float64Array(this.numbers.length);
    let used = 0;
    for (let i = 0; i < this.length; i += 1) {
      if (!this.comesLater(i)) continue;
      numbers.set(this.numbers.subarray(i * numbersOfRun, (i + 1) * numbersOfRun), used);
      used += numbersOfRun;
    }
    return new PageRuns(numbers.subarray(0, used));
  }

  /** The same in packs of other numbers; zeroes stay. */
  renumbered(numberOf: (pack: number) => number): PageRuns {
    const numbers = this.numbers.slice();
    for (let word = 3; word < numbers.length; word += numbersOfRun) {
      const pack = numbers[word] ?? zeroPack;
      if (pack !== zeroPack) numbers[word] = numberOf(pack);
    }
    return new PageRuns(numbers);
  }

  /** Index of the first run that ends after a page; length when there is none. */
  firstFrom(page: number): number {
    return firstIndex(this.length, (i) => this.end(i) > page);
  }

  /** Index of the run that holds a page, or undefined. */
  find(page: number): number | undefined {
    const i = this.firstFrom(page);
    return i < this.length && this.page(i) <= page ? i : undefined;
  }
}

/** Index of the first that is meant, as all after it are; `length` when none is. */
export function firstIndex(length: number, isMeant: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isMeant(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

const fewestRuns = 1024;

/** Collects runs in order, joining those that touch both in the process and in the pack. */
export class PageRunsWriter {
  #numbers = new Float64Array(fewestRuns * numbersOfRun);
  #used = 0;

  add(page: number, pages: number, flags: number, pack: number, at: number): void {
    const numbers = this.#numbers;
    const last = this.#used - numbersOfRun;
    if (last >= 0) {
      const pagesBefore = numbers[last + 1] ?? 0;
      const touches =
        (numbers[last] ?? 0) + pagesBefore === page &&
        numbers[last + 2] === flags &&
        numbers[last + 3] === pack &&
        (numbers[last + 4] ?? 0) + (pack < 0 ? 0 : pagesBefore) === at;
      if (touches) {
        numbers[last + 1] = pagesBefore + pages;
        return;
      }
    }
    this.#put(page, pages, flags, pack, at);
  }

  runs(): PageRuns {
    return new PageRuns(this.#numbers.subarray(0, this.#used));
  }

  #put(page: number, pages: number, flags: number, pack: number, at: number): void {
    if (this.#used === this.#numbers.length) {
      const larger = new Float64Array(2 * this.#numbers.length);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const numbers = this.#numbers;
    numbers[this.#used] = page;
    numbers[this.#used + 1] = pages;
    numbers[this.#used + 2] = flags;
    numbers[this.#used + 3] = pack;
    numbers[this.#used + 4] = at;
    this.#used += numbersOfRun;
  }
}
