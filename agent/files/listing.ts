import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { PodferryError } from '../../proto/errors.ts';
import { paths } from '../../proto/names.ts';
import { inAppNamespace, programs, type AppPlace } from '../launch/app-namespace.ts';
import { parseMountinfo, type Mount } from '../launch/mounts.ts';
import { failureOf, startProgram } from '../launch/run-program.ts';

/** What is compared of a file between two listings. */
export interface FileEntry {
  /** `f` file, `d` directory, `l` symbolic link, `p` fifo, `s` socket, `b`, `c` devices. */
  readonly kind: string;
  readonly bytes: number;
  /** mtime, ctime (with nanoseconds), inode, mode, uid, gid: one word, only ever compared. */
  readonly stamp: string;
}

/** By path: absolute as the application sees it, a byte string (latin1, one character a byte), since names need not be UTF-8. */
export type FileListing = ReadonlyMap<string, FileEntry>;

const fieldsPerEntry = 4;
const format = String.raw`%p\0%y\0%s\0%T@,%C@,%i,%m,%U,%G\0`;

/**
 * Lists the container's writable root file system and its own volumes (`dataDirs`), not what is mounted inside them: configuration,
 * secrets, /etc/hosts, /proc, our own volume. A data dir that is no mount point is part of the root file system and listed there.
 * A listing of the fresh container compared with a later one (changes.ts) finds what the application changed: times alone
 * miss `cp -p`, renames and deletions.
 * @throws PodferryError FILES_FAILED, DEADLINE_EXCEEDED
 */
export async function listFiles(
  place: AppPlace,
  dataDirs: readonly string[],
  deadlineMs: number,
): Promise<FileListing> {
  const args = findArgs(await readMounts(place.placeholderPid), dataDirs);
  const command = inAppNamespace({ ...place, program: programs.find, args });
  const { child, ended } = startProgram(command, deadlineMs);
  child.stdin.end();
  const [listing, outcome] = await Promise.all([parseListing(child.stdout), ended]);
  const failure = failureOf("listing the container's files", outcome, 'FILES_FAILED');
  if (failure !== undefined) throw failure;
  return listing;
}

/** Keeps a listing on the work volume: the container's baseline must survive the agent. Replaces the file as a whole. */
export async function saveListing(file: string, listing: FileListing): Promise<void> {
  await pipeline(encodeListing(listing), createWriteStream(`${file}.new`, { mode: 0o600 }));
  await rename(`${file}.new`, file);
}

/** @throws PodferryError FILES_FAILED when there is no such listing or it is torn */
export async function loadListing(file: string): Promise<FileListing> {
  try {
    return await parseListing(createReadStream(file));
  } catch (cause) {
    throw new PodferryError('FILES_FAILED', `cannot read the file listing ${file}`, { file }, { cause });
  }
}

/** The arguments of `find`; exported for its test. */
export function findArgs(mounts: readonly Mount[], dataDirs: readonly string[]): string[] {
  const points = new Set(mounts.map((mount) => mount.point));
  // `/data/.` names the folder, and is another path than `/data`, which is pruned as a mount inside the root.
  const volumes = dataDirs.map(toByteString).filter((dir) => dir !== '/' && points.has(dir));
  const skipped = [...points, paths.shared].filter((point) => point !== '/');
  const patterns = skipped.flatMap((point) => {
    const inside = volumes.filter((dir) => point.startsWith(`${dir}/`));
    return [point, ...inside.map((dir) => `${dir}/.${point.slice(dir.length)}`)];
  });
  const tests = patterns.flatMap((pattern) => ['-o', '-path', escapeGlob(pattern)]).slice(1);
  const starts = ['/', ...volumes.map((dir) => `${dir}/.`)];
  const words = [...starts, '-xdev', '-ignore_readdir_race', '(', ...tests, ')', '-prune', '-o', '-printf', format];
  return words.map(fromByteString);
}

/**
 * Parses NUL-separated fields as they arrive.
 * @throws PodferryError FILES_FAILED when they end inside an entry
 */
export async function parseListing(stream: AsyncIterable<Buffer>): Promise<FileListing> {
  const listing = new Map<string, FileEntry>();
  let pending = '';
  let fields: string[] = [];
  for await (const chunk of stream) {
    const words = (pending + chunk.toString('latin1')).split('\0');
    pending = words.pop() ?? '';
    for (const word of words) {
      fields.push(word);
      if (fields.length < fieldsPerEntry) continue;
      const [path = '', kind = '', bytes = '', stamp = ''] = fields;
      listing.set(plainPath(path), { kind, bytes: Number(bytes), stamp });
      fields = [];
    }
  }
  if (pending !== '' || fields.length > 0) {
    throw new PodferryError('FILES_FAILED', 'a file listing ends inside an entry', { entries: listing.size });
  }
  return listing;
}

/** Paths as tools take them: one string a byte becomes the UTF-8 that Node encodes again. */
export function fromByteString(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8');
}

function toByteString(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1');
}

function* encodeListing(listing: FileListing): Generator<Buffer> {
  for (const [path, entry] of listing) {
    yield Buffer.from(`${path}\0${entry.kind}\0${entry.bytes}\0${entry.stamp}\0`, 'latin1');
  }
}

/** `/data/.` and `/data/./x` as find prints them below such a start. */
function plainPath(path: string): string {
  return path.endsWith('/.') ? path.slice(0, -2) : path.replace('/./', '/');
}

/** @see fnmatch(3), as find's -path uses it */
function escapeGlob(path: string): string {
  return path.replace(/[*?[\\]/g, String.raw`\$&`);
}

async function readMounts(pid: number): Promise<Mount[]> {
  try {
    return parseMountinfo(await readFile(`/proc/${pid}/mountinfo`, 'latin1'));
  } catch (cause) {
    throw new PodferryError('FILES_FAILED', `cannot read the mounts of pid ${pid}`, { pid }, { cause });
  }
}
