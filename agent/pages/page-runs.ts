import { pageFlags } from '../criu/page-xfer.ts';
import { zeroPack, type PageImage, type PageKind, type PageRun } from '../store/manifest.ts';

/** Collects the runs of one image in order, joining those that touch both in the process and in the pack. */
export class PageRunList {
  readonly #runs: PageRun[] = [];

  constructor(
    readonly kind: PageKind,
    readonly id: number,
  ) {}

  add(run: PageRun): void {
    const last = this.#runs.at(-1);
    const touches =
      last !== undefined &&
      last.page + last.pages === run.page &&
      last.flags === run.flags &&
      last.pack === run.pack &&
      last.at + (run.pack < 0 ? 0 : last.pages) === run.at;
    if (touches) this.#runs[this.#runs.length - 1] = { ...last, pages: last.pages + run.pages };
    else this.#runs.push(run);
  }

  image(): PageImage {
    return { kind: this.kind, id: this.id, runs: this.#runs };
  }
}

/** Content that a lazy restore puts in later. A page of zeroes needs nothing: what never comes reads so. */
export const comesLater = ({ flags, pack }: Pick<PageRun, 'flags' | 'pack'>): boolean =>
  (flags & pageFlags.lazy) !== 0 && pack !== zeroPack;

export const pagesOf = (runs: readonly PageRun[]): number => runs.reduce((sum, run) => sum + run.pages, 0);

/** Index of the run that holds a page, or undefined. @param runs ascending */
export function findRun(runs: readonly PageRun[], page: number): number | undefined {
  let low = 0;
  let high = runs.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const run = runs[middle];
    if (run === undefined) return undefined;
    if (page < run.page) high = middle - 1;
    else if (page >= run.page + run.pages) low = middle + 1;
    else return middle;
  }
  return undefined;
}

/** Index of the first run that ends after a page; runs.length when there is none. @param runs ascending */
export function firstRunFrom(runs: readonly PageRun[], page: number): number {
  return firstFrom(runs, (run) => run.page + run.pages > page);
}

/** Index of the first of a list that is meant, as all after it are; its length when none is. */
export function firstFrom<T>(list: readonly T[], isMeant: (one: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const one = list[middle];
    if (one !== undefined && !isMeant(one)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The parts of runs that make up `pages` pages from `page` on, in order; undefined when one of them is not there. */
export function sliceRuns(runs: readonly PageRun[], page: number, pages: number): PageRun[] | undefined {
  const parts: PageRun[] = [];
  const end = page + pages;
  let next = page;
  for (let i = findRun(runs, page); i !== undefined && next < end; i += 1) {
    const run = runs[i];
    if (run === undefined || run.page > next) return undefined;
    const skipped = next - run.page;
    const taken = Math.min(run.pages - skipped, end - next);
    parts.push({ ...run, page: next, pages: taken, at: run.pack < 0 ? 0 : run.at + skipped });
    next += taken;
  }
  return next === end ? parts : undefined;
}
