import { createHash } from 'node:crypto';
import { z } from 'zod';
import { pageBytes } from '../pages/page-size.ts';
import { frameOverhead, framesOf, rawBytesOfFrame } from './frames.ts';
import { invalid, openManifest, sealManifest } from './manifest-envelope.ts';
import { numbersOfRun, PageRuns, zeroPack } from './page-runs.ts';
import { NumberReader, NumberWriter } from './run-codec.ts';
import type { Sealing } from './sealing.ts';

export { maxManifestBytes } from './manifest-envelope.ts';

/** Most bytes of one pack: large enough for a store's full speed, small enough to hold a dozen in memory. */
export const packBytes = 8 * 1024 * 1024;

/** Most ranges of hot pages that a manifest names. */
export const maxHotRanges = 4096;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);
const pid = z.int().positive();

/** Bytes that lie together in one pack. */
const extent = z.object({ pack: count, offset: count, bytes: count });

const pack = z
  .object({
    key: z.string().min(1),
    /** Raw: what extents and runs address. */
    bytes: z.int().positive().max(packBytes),
    /** Length of each sealed frame; they lie one after the other. */
    frames: z.array(z.int().positive()),
    /** Of the object, hex. */
    sha256: digest,
  })
  .refine(({ bytes, frames }) => hasFramesFor(bytes, frames), "its frames do not fit the pack's size");

function hasFramesFor(bytes: number, frames: readonly number[]): boolean {
  const fits = (sealed: number, i: number): boolean =>
    sealed > frameOverhead && sealed <= rawBytesOfFrame(bytes, i) + frameOverhead;
  return frames.length === framesOf(bytes) && frames.every(fits);
}

const manifest = z.object({
  checkpoint: z.string().min(1),
  instance: z.string().min(1),
  generation: count,
  /** Unix time. */
  takenMs: count.optional(),
  /** The checkpoint whose pages this one goes on using. */
  parent: z.string().min(1).optional(),
  facts: z.object({
    criu: z.string(),
    kernel: z.string(),
    machine: z.string(),
    cpuFlags: z.array(z.string()),
  }),
  rootPid: pid,
  /** Pids that were stopped before the checkpoint and stay so after the restore. */
  stoppedBefore: z.array(pid),
  /** What the container runtime gave as standard input, output and error: `pipe:[4711]`. */
  stdio: z.array(z.object({ fd: z.union([z.literal(0), z.literal(1), z.literal(2)]), link: z.string() })),
  /** Of this checkpoint and of earlier ones. */
  packs: z.array(pack),
  /** CRIU's metadata images. */
  images: z.array(z.object({ name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*\.img$/), at: z.array(extent) })),
  /** Pages of each process (`pid`) and each shared segment (`shmem`), and how many runs; the runs themselves follow the JSON. */
  pages: z.array(z.object({ kind: z.enum(['pid', 'shmem']), id: count, runs: count })),
  /** Pages of processes that were written to again and again, or last: first page and how many. A restore may read them first. */
  hot: z
    .array(z.object({ id: count, ranges: z.array(z.tuple([count, z.int().positive()])) }))
    .refine((hot) => hot.reduce((sum, { ranges }) => sum + ranges.length, 0) <= maxHotRanges, 'too many hot ranges')
    .optional(),
  /** A tar of the changed files of the container's writable layer; absent when nothing was captured. */
  files: z.object({ archive: z.array(extent), deleted: z.array(z.string()) }).optional(),
});

type Stored = z.infer<typeof manifest>;

export type HostFacts = Readonly<Stored['facts']>;
export type Extent = Readonly<Stored['images'][number]['at'][number]>;
export type Pack = Readonly<Stored['packs'][number]>;
export type StdioLink = Readonly<Stored['stdio'][number]>;
export type PageKind = Stored['pages'][number]['kind'];
export interface StoredImage {
  readonly name: string;
  readonly at: readonly Extent[];
}

/** The pages of one process or shared segment. */
export interface PageImage {
  readonly kind: PageKind;
  readonly id: number;
  readonly runs: PageRuns;
}

/** Hot pages of one process, ascending: first page and how many. */
export interface HotImage {
  readonly id: number;
  readonly ranges: readonly (readonly [number, number])[];
}

/** Everything there is to know of a checkpoint. It is written last: without it the checkpoint does not exist. */
export interface Manifest {
  readonly checkpoint: string;
  readonly instance: string;
  readonly generation: number;
  /** Unix time. */
  readonly takenMs?: number | undefined;
  /** The checkpoint whose pages this one goes on using. */
  readonly parent?: string | undefined;
  readonly facts: HostFacts;
  readonly rootPid: number;
  readonly stoppedBefore: readonly number[];
  readonly stdio: readonly StdioLink[];
  readonly packs: readonly Pack[];
  readonly images: readonly StoredImage[];
  readonly pages: readonly PageImage[];
  readonly hot?: readonly HotImage[] | undefined;
  readonly files?: { readonly archive: readonly Extent[]; readonly deleted: readonly string[] };
}

/** Points at a manifest and fixes its content. */
export interface CheckpointRef {
  readonly id: string;
  readonly manifestKey: string;
  /** Hex SHA-256 of the manifest's bytes. */
  readonly manifestSha256: string;
}

export const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes of a pack's object. */
export const sealedBytes = ({ frames }: Pack): number => frames.reduce((sum, next) => sum + next, 0);

/** The content before it is sealed: length of the JSON, the JSON, the runs of all images. */
function contentOf(m: Manifest): Buffer {
  const pages = m.pages.map(({ kind, id, runs }) => ({ kind, id, runs: runs.length }));
  const json = Buffer.from(JSON.stringify({ ...m, pages }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.byteLength);
  const numbers = new NumberWriter();
  for (const { runs } of m.pages) {
    let next = 0;
    for (let i = 0; i < runs.length; i += 1) {
      numbers.write(runs.page(i) - next);
      numbers.write(runs.pages(i));
      numbers.write(runs.flags(i));
      // zeroPack becomes 0.
      numbers.write(runs.pack(i) + 1);
      numbers.write(runs.at(i));
      next = runs.end(i);
    }
  }
  return Buffer.concat([length, json, numbers.bytes()]);
}

/** The manifest as it is stored, sealed for its instance. @throws RangeError when its runs do not ascend */
export function encodeManifest(m: Manifest, sealing: Sealing): Buffer {
  return sealManifest(m.checkpoint, contentOf(m), sealing);
}

/** Reads and checks the runs of one image: inside their packs. They are disjoint and ascend by the way they are stored. */
function readRuns(numbers: NumberReader, count: number, packs: readonly Pack[], where: string, name: string): PageRuns {
  // Each number takes a byte at least: no more memory is taken than the manifest accounts for.
  if (count * numbersOfRun > numbers.bytesLeft) throw invalid(name, `the runs of ${where} are cut off`);
  const list = new Float64Array(count * numbersOfRun);
  let next = 0;
  for (let i = 0; i < count; i += 1) {
    const gap = numbers.read();
    const pages = numbers.read();
    const flags = numbers.read();
    const packNumber = numbers.read();
    const at = numbers.read();
    if (gap === undefined || flags === undefined || packNumber === undefined || at === undefined || !pages) {
      throw invalid(name, `run ${i} of ${where} is malformed`);
    }
    const page = next + gap;
    next = page + pages;
    const pack = packNumber - 1;
    const size = pack === zeroPack ? Number.POSITIVE_INFINITY : packs[pack]?.bytes;
    if (size === undefined || (at + pages) * pageBytes > size || !Number.isSafeInteger(next)) {
      throw invalid(name, `run ${i} of ${where} lies outside its pack`);
    }
    const word = i * numbersOfRun;
    list[word] = page;
    list[word + 1] = pages;
    list[word + 2] = flags;
    list[word + 3] = pack;
    list[word + 4] = at;
  }
  return new PageRuns(list);
}

function checkExtents(list: readonly Extent[], packs: readonly Pack[], where: string, name: string): void {
  for (const { pack, offset, bytes } of list) {
    const size = packs[pack]?.bytes;
    if (size === undefined || offset + bytes > size) throw invalid(name, `an extent of ${where} lies outside its pack`);
  }
}

/**
 * Opens a manifest and checks that everything it names lies where it can.
 * @param name its key, for messages
 * @throws PodferryError MANIFEST_INVALID (also: of another instance) | KEY_WRONG | OBJECT_CORRUPT
 */
export function parseManifest(bytes: Uint8Array, sealing: Sealing, name = 'the manifest'): Manifest {
  const { header, content } = openManifest(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    sealing,
    name,
  );
  const jsonEnd = content.byteLength < 4 ? Number.POSITIVE_INFINITY : 4 + content.readUInt32LE(0);
  if (jsonEnd > content.byteLength) throw invalid(name, 'it ends in its JSON');
  let json: unknown;
  try {
    json = JSON.parse(content.subarray(4, jsonEnd).toString('utf8'));
  } catch (error) {
    throw invalid(name, 'no JSON', error);
  }
  const parsed = manifest.safeParse(json);
  if (!parsed.success) throw invalid(name, z.prettifyError(parsed.error), parsed.error);
  const { pages: images, files, ...rest } = parsed.data;
  if (rest.instance !== header.instance || rest.checkpoint !== header.checkpoint) {
    throw invalid(name, 'its header is of another checkpoint than its content');
  }
  for (const image of rest.images) checkExtents(image.at, rest.packs, image.name, name);
  if (files !== undefined) checkExtents(files.archive, rest.packs, 'the files', name);
  const numbers = new NumberReader(content.subarray(jsonEnd));
  const pages = images.map(({ kind, id, runs }) => ({
    kind,
    id,
    runs: readRuns(numbers, runs, rest.packs, `${kind} ${id}`, name),
  }));
  if (numbers.bytesLeft > 0) throw invalid(name, 'something follows its runs');
  return { ...rest, pages, ...(files === undefined ? {} : { files }) };
}
