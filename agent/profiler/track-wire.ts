import type { PageRange } from '../memory/address-space.ts';

/** What agent/launch/placeholder/track.c understands. */
export type TrackRequest =
  | { readonly kind: 'probe' }
  | { readonly kind: 'attach' | 'drop'; readonly pid: number }
  | { readonly kind: 'look'; readonly pid: number; readonly ranges: readonly PageRange[]; readonly isLive: boolean };

export interface TrackReply {
  /** Undefined: it was done. */
  readonly failure: string | undefined;
  /** Pages that are there and were written since the last live look; a few between them may not have been. */
  readonly written: readonly PageRange[];
  /** Ranges of the request of which nothing is known. */
  readonly failed: readonly PageRange[];
  /** Pages that are there, when the look is live. */
  readonly there: readonly PageRange[];
}

const kinds = { probe: 1, attach: 2, look: 3, drop: 4 } as const;
const liveLook = 1;
const requestBytes = 16;
const replyBytes = 24;
const numberBytes = Float64Array.BYTES_PER_ELEMENT;
const rangeBytes = 2 * numberBytes;

/** By their numbers in track.h. */
const stages: Readonly<Record<number, string>> = {
  1: 'a userfaultfd cannot be made',
  2: 'the kernel does not note writes (it needs Linux 6.7)',
  3: 'memory cannot be registered',
  4: 'the notes cannot be read',
  5: 'the kernel noted the writes to a test page wrongly',
  6: 'no thread of the process can be borrowed',
  7: 'the process cannot be traced',
  8: 'the thread did not stop',
  9: 'the state of the thread cannot be set aside',
  10: 'the process may not make a userfaultfd',
  11: 'the userfaultfd of the process cannot be taken over',
};

/** Pure. */
export function encodeTrackRequest(request: TrackRequest): Buffer {
  const ranges = request.kind === 'look' ? request.ranges : [];
  const bytes = Buffer.alloc(requestBytes + ranges.length * rangeBytes);
  bytes.writeUInt32LE(kinds[request.kind], 0);
  bytes.writeInt32LE(request.kind === 'probe' ? 0 : request.pid, 4);
  bytes.writeUInt32LE(request.kind === 'look' && request.isLive ? liveLook : 0, 8);
  bytes.writeUInt32LE(ranges.length, 12);
  for (const [i, { from, to }] of ranges.entries()) {
    bytes.writeDoubleLE(from, requestBytes + i * rangeBytes);
    bytes.writeDoubleLE(to, requestBytes + i * rangeBytes + numberBytes);
  }
  return bytes;
}

/** How many bytes a reply has that begins so; undefined while even that is not known. Pure. */
export function trackReplyBytes(start: Buffer): number | undefined {
  if (start.byteLength < replyBytes) return undefined;
  const ranges = start.readUInt32LE(12) + start.readUInt32LE(16) + start.readUInt32LE(20);
  return replyBytes + ranges * rangeBytes;
}

/** @param bytes one whole reply. Pure. */
export function decodeTrackReply(bytes: Buffer): TrackReply {
  const stage = bytes.readInt32LE(4);
  const error = bytes.readInt32LE(8);
  let at = replyBytes;
  const read = (count: number): PageRange[] => {
    const ranges: PageRange[] = [];
    for (let i = 0; i < count; i += 1, at += rangeBytes) {
      ranges.push({ from: bytes.readDoubleLE(at), to: bytes.readDoubleLE(at + numberBytes) });
    }
    return ranges;
  };
  return {
    failure: stage === 0 ? undefined : `${stages[stage] ?? `stage ${stage}`} (errno ${error})`,
    written: read(bytes.readUInt32LE(12)),
    failed: read(bytes.readUInt32LE(16)),
    there: read(bytes.readUInt32LE(20)),
  };
}
