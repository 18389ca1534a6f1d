import type { PageRange } from './address-space.ts';
import type { Piece } from './pass.ts';
import { absentPack, chunkPages, wordOfPack, wordsOfPage, type PageTable, type ProcessChunks } from './page-table.ts';

/** Of a page's byte: whether it changed in the last round (lowest bit), the one before, ...; and whether it is left to the freeze. */
const history = 0x7f;
const excluded = 0x80;
/** Changed in each of the last three rounds. */
const always = 0b111;
/** Changed in one of the last two. */
const lately = 0b11;

interface Known {
  readonly chunks: ProcessChunks;
}

/**
 * Which pages the application writes to again and again, as seen from round to round. Pages that change in every round are not worth storing
 * before the freeze: they can be excluded. What is excluded is forgotten in the table, so that nothing stored of it can be taken for its content.
 */
export class HotPages {
  /** By process; its chunks in which anything has changed, a byte a page. */
  readonly #marks = new WeakMap<Known, Map<number, Uint8Array>>();
  #excludedPages = 0;

  get excludedPages(): number {
    return this.#excludedPages;
  }

  /** After a round: what is in packs from `firstPack` on has changed in it. */
  note(table: PageTable, processes: Iterable<Known>, firstPack: number): void {
    for (const process of processes) {
      const marks = this.#of(process);
      for (const [chunk, slot] of process.chunks.slots) {
        const known = marks.get(chunk);
        const found = noteChunk(known ?? new Uint8Array(chunkPages), table.entries(slot), firstPack);
        if (known === undefined && found.isAny) marks.set(chunk, found.marks);
      }
    }
  }

  /** Leaves pages that always change to the freeze, as long as these are at most so many in all. */
  exclude(processes: Iterable<Known>, maxPages: number): void {
    for (const process of processes) {
      for (const marks of this.#of(process).values()) {
        for (let page = 0; page < chunkPages && this.#excludedPages < maxPages; page += 1) {
          const mark = marks[page] ?? 0;
          if ((mark & excluded) !== 0 || (mark & always) !== always) continue;
          marks[page] = mark | excluded;
          this.#excludedPages += 1;
        }
      }
    }
  }

  /** Pieces without what is excluded. The table forgets that of them. */
  without(table: PageTable, process: Known, pieces: readonly Piece[]): readonly Piece[] {
    if (this.#excludedPages === 0) return pieces;
    const marks = this.#of(process);
    return pieces.flatMap((piece) => {
      const ofChunk = marks.get(piece.chunk);
      if (ofChunk === undefined) return [piece];
      const slot = process.chunks.slots.get(piece.chunk);
      const rest: Piece[] = [];
      for (let from = piece.from; from < piece.to;) {
        const isOut = isExcluded(ofChunk, from);
        let to = from + 1;
        while (to < piece.to && isExcluded(ofChunk, to) === isOut) to += 1;
        if (!isOut) rest.push({ chunk: piece.chunk, from, to });
        else if (slot !== undefined) table.forget(slot, from, to);
        from = to;
      }
      return rest;
    });
  }

  /** What of a process is excluded, and so has to be read in the freeze, within these ranges. */
  excludedIn(process: Known, ranges: readonly PageRange[]): PageRange[] {
    if (this.#excludedPages === 0) return [];
    return this.#ranges(process, excluded).flatMap((found) =>
      ranges.flatMap(({ from, to }) => {
        const both = { from: Math.max(from, found.from), to: Math.min(to, found.to) };
        return both.from < both.to ? [both] : [];
      }),
    );
  }

  /** What of a process has changed in one of the last two rounds, or is excluded; ascending. */
  rangesOf(process: Known): PageRange[] {
    return this.#ranges(process, lately | excluded);
  }

  #ranges(process: Known, mask: number): PageRange[] {
    const ranges: PageRange[] = [];
    let [from, to] = [0, 0];
    const end = (): void => {
      if (to > from) ranges.push({ from, to });
    };
    for (const [chunk, marks] of [...this.#of(process)].toSorted(([a], [b]) => a - b)) {
      for (let page = 0; page < chunkPages; page += 1) {
        if (((marks[page] ?? 0) & mask) === 0) continue;
        const at = chunk * chunkPages + page;
        if (to !== at) {
          end();
          from = at;
        }
        to = at + 1;
      }
    }
    end();
    return ranges;
  }

  #of(process: Known): Map<number, Uint8Array> {
    const known = this.#marks.get(process) ?? new Map<number, Uint8Array>();
    this.#marks.set(process, known);
    return known;
  }
}

const isExcluded = (marks: Uint8Array, page: number): boolean => ((marks[page] ?? 0) & excluded) !== 0;

function noteChunk(
  marks: Uint8Array,
  entries: Int32Array,
  firstPack: number,
): { readonly marks: Uint8Array; readonly isAny: boolean } {
  let isAny = false;
  for (let page = 0, word = wordOfPack; page < chunkPages; page += 1, word += wordsOfPage) {
    const mark = marks[page] ?? 0;
    const isOut = (mark & excluded) !== 0;
    const isChanged = isOut || (entries[word] ?? absentPack) >= firstPack;
    isAny ||= isChanged;
    marks[page] = (mark & excluded) | (((mark << 1) | (isChanged ? 1 : 0)) & history);
  }
  return { marks, isAny };
}
