/**
 * What is known of the pieces of a request. `whole`: they are all there is in their chunks, so that the other pages are forgotten.
 * `part`: some of them may not be there. `there`: all of them are.
 */
export type ScanExtent = 'whole' | 'part' | 'there';

/** To a scanning thread, which answers each request with one reply. */
export type ScanRequest =
  | {
      readonly kind: 'scan';
      readonly pid: number;
      /** Three numbers a piece: chunk, first page in it, page after the last; all pieces of a chunk follow one another. */
      readonly pieces: readonly number[];
      /** Of each chunk, in the order of the pieces. */
      readonly slots: readonly number[];
      readonly extent: ScanExtent;
      /** All blocks of the table. */
      readonly slabs: readonly SharedArrayBuffer[];
    }
  /** Memory for changed pages, after `full`. */
  | { readonly kind: 'memory'; readonly pack: number; readonly memory: Uint8Array }
  /** Nothing follows for now: the memory is taken back. */
  | { readonly kind: 'flush' };

/** What a scan found, in pages. */
export interface ScanCounts {
  readonly present: number;
  readonly zero: number;
  /** Stored, since they were new or other than before. */
  readonly changed: number;
}

export type ScanReply =
  /** The memory is filled that far (0: there was none): more is needed to go on with the scan. */
  | { readonly kind: 'full'; readonly bytes: number }
  /** `isUsed`: of each chunk of the request, whether any page is there. */
  | { readonly kind: 'scanned'; readonly counts: ScanCounts; readonly isUsed: readonly boolean[] }
  | { readonly kind: 'flushed'; readonly bytes: number };

/** Given to the thread when it starts. */
export interface ScanStart {
  readonly seed: bigint;
  readonly rewrite: SharedArrayBuffer;
}
