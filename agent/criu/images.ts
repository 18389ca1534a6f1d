import { PodferryError } from '../../proto/errors.ts';
import {
  type DumpStatsEntry,
  MmEntry,
  PagemapEntry,
  PagemapHead,
  PstreeEntry,
  StatsEntry,
} from '../../proto/gen/criu/images.ts';

/** First words of CRIU's image files. @see checkpoint-restore/criu criu/include/magic.h (v4.2) */
const magic = {
  common: 0x54564319,
  service: 0x55105940,
  mm: 0x57492820,
  pagemap: 0x56084025,
  pstree: 0x50273030,
  stats: 0x57093306,
};

const wordBytes = 4;

interface Decoder<T> {
  decode(input: Uint8Array): T;
}

/**
 * Splits one CRIU image into its protobuf entries: two words of magic, then each entry after its u32 size.
 * @throws PodferryError IMAGE_MAGIC when the first words are others; IMAGE_TRUNCATED when an entry runs past the end
 * @see checkpoint-restore/criu lib/pycriu/images/images.py (v4.2)
 */
function entriesOf(image: Buffer, first: number, second: number, name: string): Buffer[] {
  if (image.byteLength < 2 * wordBytes) {
    throw new PodferryError('IMAGE_TRUNCATED', `${name} has only ${image.byteLength} bytes`, { name });
  }
  if (image.readUInt32LE(0) !== first || image.readUInt32LE(wordBytes) !== second) {
    throw new PodferryError('IMAGE_MAGIC', `${name} does not begin as it should`, { name });
  }
  const entries: Buffer[] = [];
  for (let at = 2 * wordBytes; at < image.byteLength;) {
    const end = at + wordBytes <= image.byteLength ? at + wordBytes + image.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (end > image.byteLength) {
      throw new PodferryError('IMAGE_TRUNCATED', `entry ${entries.length} of ${name} runs past its end`, { name });
    }
    entries.push(image.subarray(at + wordBytes, end));
    at = end;
  }
  return entries;
}

function decodeEntry<T>(decoder: Decoder<T>, entry: Uint8Array | undefined, name: string): T {
  if (entry === undefined) throw new PodferryError('IMAGE_TRUNCATED', `${name} has too few entries`, { name });
  try {
    return decoder.decode(entry);
  } catch (error) {
    throw new PodferryError('IMAGE_TRUNCATED', `an entry of ${name} cannot be decoded`, { name }, { cause: error });
  }
}

function imageFrom(first: number, second: number, entries: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(2 * wordBytes);
  head.writeUInt32LE(first, 0);
  head.writeUInt32LE(second, wordBytes);
  const parts: Uint8Array[] = [head];
  for (const entry of entries) {
    const size = Buffer.alloc(wordBytes);
    size.writeUInt32LE(entry.byteLength, 0);
    parts.push(size, entry);
  }
  return Buffer.concat(parts);
}

/** One entry of a pagemap, in pages. */
export interface PagemapRun {
  readonly page: number;
  readonly pages: number;
  readonly flags: number;
}

export interface Pagemap {
  /** The pages are in `pages-<pagesId>.img`. */
  readonly pagesId: number;
  readonly runs: readonly PagemapRun[];
}

const pageShift = 12n;

/** Field 1 as a zero: the encoder leaves zeroes out, CRIU refuses an entry without it, and shared memory begins at 0. */
const zeroVaddr = Buffer.from([8, 0]);

/** @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export function decodePagemap(image: Buffer): Pagemap {
  const [head, ...rest] = entriesOf(image, magic.common, magic.pagemap, 'pagemap');
  return {
    pagesId: decodeEntry(PagemapHead, head, 'pagemap').pagesId,
    runs: rest.map((bytes) => {
      const entry = decodeEntry(PagemapEntry, bytes, 'pagemap');
      const pages = entry.nrPages === undefined || entry.nrPages === 0n ? entry.compatNrPages : Number(entry.nrPages);
      return { page: Number(entry.vaddr >> pageShift), pages: pages ?? 0, flags: entry.flags ?? 0 };
    }),
  };
}

/** A pagemap image of CRIU 4.2: the count both in its new and in its old field, as CRIU writes it itself. */
export function encodePagemap(pagemap: Pagemap): Buffer {
  const entries = pagemap.runs.map(({ page, pages, flags }) => {
    const vaddr = BigInt(page) << pageShift;
    const bytes = PagemapEntry.encode({ vaddr, compatNrPages: pages, nrPages: BigInt(pages), flags }).finish();
    return vaddr === 0n ? Buffer.concat([zeroVaddr, bytes]) : bytes;
  });
  return imageFrom(magic.common, magic.pagemap, [
    PagemapHead.encode({ pagesId: pagemap.pagesId }).finish(),
    ...entries,
  ]);
}

/** Neighbouring memory of a process, from one page to before another. */
export interface Mapping {
  readonly from: number;
  readonly to: number;
  /** Whether its pages may come after the process: what CRIU puts in later (vma_entry_can_be_lazy of criu/include/vma.h, 4.2). */
  readonly mayComeLater: boolean;
}

/** As mmap takes them: private, anonymous; locked, of huge pages. */
const later = { needs: 0x02 | 0x20, not: 0x2000 | 0x40000 };
/** VMA_AREA_VSYSCALL, VDSO and VVAR. @see checkpoint-restore/criu criu/include/image.h (v4.2) */
const ofKernel = (1 << 2) | (1 << 3) | (1 << 12);

/** The memory of a process, ascending. @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export function decodeMappings(image: Buffer): Mapping[] {
  const [entry] = entriesOf(image, magic.common, magic.mm, 'mm');
  return decodeEntry(MmEntry, entry, 'mm').vmas.map(({ start, end, flags, status }) => ({
    from: Number(start >> pageShift),
    to: Number(end >> pageShift),
    mayComeLater: (flags & later.needs) === later.needs && (flags & later.not) === 0 && (status & ofKernel) === 0,
  }));
}

/** The processes of a checkpoint, root first. @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export function decodePstree(image: Buffer): PstreeEntry[] {
  const entries = entriesOf(image, magic.common, magic.pstree, 'pstree.img');
  const processes = entries.map((entry) => decodeEntry(PstreeEntry, entry, 'pstree.img'));
  if (processes.length === 0) throw new PodferryError('IMAGE_TRUNCATED', 'pstree.img names no process');
  return processes;
}

/** How long a dump held its processes, in microseconds, from `stats-dump`. @throws PodferryError IMAGE_MAGIC | IMAGE_TRUNCATED */
export function decodeDumpStats(image: Buffer): DumpStatsEntry {
  const [entry] = entriesOf(image, magic.service, magic.stats, 'stats-dump');
  const { dump } = decodeEntry(StatsEntry, entry, 'stats-dump');
  if (dump === undefined) throw new PodferryError('IMAGE_TRUNCATED', 'stats-dump holds no times of a dump');
  return dump;
}
