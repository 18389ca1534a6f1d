import { parentPort, workerData } from 'node:worker_threads';
import { hasVanished } from '../launch/proc-stat.ts';
import { PageHasher } from './page-hasher.ts';
import { chunkPages, chunksOfSlab, slotStart, wordsOfSlot } from './page-table.ts';
import { forget, ProcessMemory, scanChunk, type ChangedPages, type ChunkCounts } from './scan-chunk.ts';
import type { ScanReply, ScanRequest, ScanStart } from './scan-messages.ts';

const { seed, rewrite: rewriteMemory } = workerData as ScanStart;
const port = parentPort;
if (port === null) throw new Error('scan-worker runs in a thread');
const reply = (message: ScanReply): void => port.postMessage(message);

const hasher = new PageHasher(chunkPages, seed);
const rewrite = new Uint8Array(rewriteMemory);
const marks = new Uint8Array(chunkPages);
let target: { readonly pack: number; readonly memory: Uint8Array; fill: number } | undefined;
let gotMemory: (() => void) | undefined;

const changed: ChangedPages = {
  async room() {
    if (target === undefined || target.fill === target.memory.byteLength) {
      const given = new Promise<void>((resolve) => (gotMemory = resolve));
      reply({ kind: 'full', bytes: target?.fill ?? 0 });
      target = undefined;
      await given;
    }
    if (target === undefined) throw new Error('no memory was given');
    return target;
  },
  filled(bytes) {
    if (target !== undefined) target.fill += bytes;
  },
};

function entriesOf(slabs: readonly SharedArrayBuffer[], slot: number): Int32Array {
  const slab = slabs[Math.floor(slot / chunksOfSlab)];
  if (slab === undefined) throw new RangeError(`there is no slot ${slot}`);
  return new Int32Array(slab, slotStart(slot) * Int32Array.BYTES_PER_ELEMENT, wordsOfSlot);
}

/** Undefined when the process has ended. */
function open(pid: number): ProcessMemory | undefined {
  try {
    return new ProcessMemory(pid);
  } catch (error) {
    if (hasVanished(error)) return undefined;
    throw error;
  }
}

async function scan(request: Extract<ScanRequest, { kind: 'scan' }>): Promise<void> {
  const { pieces, slots, slabs, extent } = request;
  const counts: ChunkCounts = { present: 0, zero: 0, changed: 0 };
  const isUsed: boolean[] = [];
  const process = open(request.pid);
  try {
    for (let at = 0; at < pieces.length;) {
      const chunk = pieces[at] ?? 0;
      marks.fill(0);
      for (; pieces[at] === chunk; at += 3) {
        const [from = 0, to = 0] = [pieces[at + 1], pieces[at + 2]];
        if (extent === 'there') marks.fill(1, from, to);
        else process?.mark(marks, chunk, from, to);
      }
      const entries = entriesOf(slabs, slots[isUsed.length] ?? -1);
      const isAny = marks.includes(1);
      isUsed.push(isAny);
      if (extent === 'whole') forget(entries, marks);
      if (isAny && process !== undefined) {
        await scanChunk(process, chunk, marks, entries, hasher, rewrite, changed, counts);
      }
    }
  } finally {
    process?.close();
  }
  reply({ kind: 'scanned', counts, isUsed });
}

port.on('message', (request: ScanRequest) => {
  switch (request.kind) {
    case 'scan':
      // A failure ends the thread, which its owner notices.
      void scan(request);
      return;
    case 'memory':
      target = { pack: request.pack, memory: request.memory, fill: 0 };
      gotMemory?.();
      return;
    case 'flush': {
      const bytes = target?.fill ?? 0;
      target = undefined;
      reply({ kind: 'flushed', bytes });
      return;
    }
  }
});
