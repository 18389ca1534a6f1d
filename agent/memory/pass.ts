import { chunkPages } from './page-table.ts';
import type { PageRange } from './address-space.ts';

/** A stretch of pages inside one chunk. */
export interface Piece {
  readonly chunk: number;
  /** Within the chunk. */
  readonly from: number;
  readonly to: number;
}

/** Divides ranges at the borders of chunks; ascending when the ranges are. Pure. */
export function piecesOf(ranges: readonly PageRange[]): Piece[] {
  const pieces: Piece[] = [];
  for (const { from, to } of ranges) {
    for (let at = from; at < to;) {
      const chunk = Math.floor(at / chunkPages);
      const end = Math.min(to, (chunk + 1) * chunkPages);
      pieces.push({ chunk, from: at - chunk * chunkPages, to: end - chunk * chunkPages });
      at = end;
    }
  }
  return pieces;
}

/** Divides pieces into batches of about `chunks` chunks; all pieces of a chunk are in one batch. Pure. */
export function batchesOf(pieces: readonly Piece[], chunks: number): Piece[][] {
  const batches: Piece[][] = [];
  let batch: Piece[] = [];
  let count = 0;
  let last = -1;
  for (const piece of pieces) {
    if (piece.chunk !== last) {
      if (count === chunks) {
        batches.push(batch);
        batch = [];
        count = 0;
      }
      count += 1;
      last = piece.chunk;
    }
    batch.push(piece);
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** The pieces in chunks that these ranges touch, and the others. Pure. */
export function splitByChunk(
  pieces: readonly Piece[],
  ranges: readonly PageRange[],
): { readonly inside: Piece[]; readonly outside: Piece[] } {
  const touched = new Set(piecesOf(ranges).map(({ chunk }) => chunk));
  return {
    inside: pieces.filter(({ chunk }) => touched.has(chunk)),
    outside: pieces.filter(({ chunk }) => !touched.has(chunk)),
  };
}
