import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { pageBytes } from '../pages/page-size.ts';

/** Most bytes of one pack: large enough for a store's full speed, small enough to hold a dozen in memory. */
export const packBytes = 8 * 1024 * 1024;

/** In place of a pack's index: the pages are all zeroes and stored nowhere. */
export const zeroPack = -1;

/** No manifest is read beyond this. */
export const maxManifestBytes = 256 * 1024 * 1024;

const versionOfManifest = 1;

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);
const pid = z.int().positive();

/** Bytes that lie together in one pack. */
const extent = z.object({ pack: count, offset: count, bytes: count });

/** Five numbers a run: first page number, pages, flags of CRIU's pagemap, pack (or zeroPack), first page within the pack. */
const runs = z.array(z.number()).refine((flat) => flat.length % 5 === 0, 'runs are five numbers each');

const manifest = z.object({
  version: z.literal(versionOfManifest),
  checkpoint: z.string().min(1),
  instance: z.string().min(1),
  generation: count,
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
  packs: z.array(z.object({ key: z.string().min(1), bytes: z.int().positive().max(packBytes), sha256: digest })),
  /** CRIU's metadata images. */
  images: z.array(z.object({ name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*\.img$/), at: z.array(extent) })),
  /** Pages of each process (`pid`) and each shared segment (`shmem`). */
  pages: z.array(z.object({ kind: z.enum(['pid', 'shmem']), id: count, runs })),
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

/** The pages of one process or shared segment, ascending. */
export interface PageImage {
  readonly kind: PageKind;
  readonly id: number;
  readonly runs: readonly PageRun[];
}

/** Everything there is to know of a checkpoint. It is written last: without it the checkpoint does not exist. */
export interface Manifest {
  readonly checkpoint: string;
  readonly instance: string;
  readonly generation: number;
  readonly facts: HostFacts;
  readonly rootPid: number;
  readonly stoppedBefore: readonly number[];
  readonly stdio: readonly StdioLink[];
  readonly packs: readonly Pack[];
  readonly images: readonly StoredImage[];
  readonly pages: readonly PageImage[];
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

/** The manifest as it is stored: JSON with the runs flattened. */
export function encodeManifest(m: Manifest): Buffer {
  const pages = m.pages.map(({ kind, id, runs: list }) => ({
    kind,
    id,
    runs: list.flatMap((run) => [run.page, run.pages, run.flags, run.pack, run.at]),
  }));
  return Buffer.from(JSON.stringify({ version: versionOfManifest, ...m, pages }));
}

function invalid(why: string, cause?: unknown): PodferryError {
  return new PodferryError('MANIFEST_INVALID', `the manifest cannot be read: ${why}`, {}, { cause });
}

const isCount = (value: number | undefined): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Unflattens and checks the runs of one image: ascending, disjoint, inside their packs. */
function unflatten(flat: readonly number[], packs: readonly Pack[], where: string): PageRun[] {
  const list: PageRun[] = [];
  let next = 0;
  for (let i = 0; i < flat.length; i += 5) {
    const [page, pages, flags, pack, at] = flat.slice(i, i + 5);
    if (!isCount(page) || !isCount(pages) || !isCount(flags) || !isCount(at) || pages === 0 || page < next) {
      throw invalid(`run ${i / 5} of ${where} is malformed`);
    }
    const size = pack === zeroPack ? Number.POSITIVE_INFINITY : isCount(pack) ? packs[pack]?.bytes : undefined;
    if (pack === undefined || size === undefined || (at + pages) * pageBytes > size) {
      throw invalid(`run ${i / 5} of ${where} lies outside its pack`);
    }
    next = page + pages;
    list.push({ page, pages, flags, pack, at });
  }
  return list;
}

function checkExtents(list: readonly Extent[], packs: readonly Pack[], where: string): void {
  for (const { pack, offset, bytes } of list) {
    const size = packs[pack]?.bytes;
    if (size === undefined || offset + bytes > size) throw invalid(`an extent of ${where} lies outside its pack`);
  }
}

/**
 * Reads a manifest and checks that everything it names lies where it can.
 * @throws PodferryError MANIFEST_INVALID
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (error) {
    throw invalid('no JSON', error);
  }
  const parsed = manifest.safeParse(json);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error), parsed.error);
  const { version: _version, pages, files, ...rest } = parsed.data;
  for (const image of rest.images) checkExtents(image.at, rest.packs, image.name);
  if (files !== undefined) checkExtents(files.archive, rest.packs, 'the files');
  return {
    ...rest,
    pages: pages.map(({ kind, id, runs: flat }) => ({ kind, id, runs: unflatten(flat, rest.packs, `${kind} ${id}`) })),
    ...(files === undefined ? {} : { files }),
  };
}
