import { once } from 'node:events';
import type { Socket } from 'node:net';
import { paths } from '../../proto/names.ts';
import { PodferryError } from '../../proto/errors.ts';
import { describeEnd, endWithin, startChild } from '../criu/child.ts';
import type { PageImage } from '../store/manifest.ts';
import { pageBytes } from './page-size.ts';

/** launch/placeholder/fill-pages.c is the other side: orders and words are 24 bytes, little-endian. */
const messageBytes = 24;
const kind = { present: 1, copy: 2, end: 3, listening: 16, touched: 17 } as const;

const pagesOf4GiB = 2 ** 32 / pageBytes;

/** Most pages of one copy. */
export const maxCopyPages = 1024;

export interface Touch {
  readonly pid: number;
  /** Address / pageBytes. */
  readonly page: number;
}

/** Pages for a process that is being, or was, restored. */
export interface PagesFor {
  /** As in the images: a child that was forked since gets what its parent gets. */
  readonly pid: number;
  readonly page: number;
  /** At most maxCopyPages. */
  readonly pages: number;
  /** Holds their content, from `at` on. */
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** The process that puts pages into restored processes; CRIU's restore finds it in the folder of the images. */
export interface Filler {
  readonly pid: number;
  /** Resolves when every page of every process is in; rejects with CRIU_RESTORE_FAILED. */
  readonly done: Promise<void>;
  /** Says what is to come; before CRIU restores. */
  expect(images: readonly PageImage[]): void;
  /** Somebody waits for a page. */
  onTouch(listener: (touch: Touch) => void): void;
  /** Puts pages in before all that was not urgent. Resolves when they are on their way. */
  putNow(pages: readonly PagesFor[]): Promise<void>;
  /** Puts pages in, in order, once CRIU has restored all processes. Resolves when the filler has taken them: its pace is the caller's. */
  put(pages: readonly PagesFor[]): Promise<void>;
  /** All was put. */
  end(): void;
  /** Ends it, and resolves when it is gone. The processes it serves must be dead before: they would wait, or run on with holes. */
  kill(): Promise<void>;
}

export interface FillerOptions {
  /** Where CRIU restores from. */
  readonly imagesDir: string;
  readonly signal: AbortSignal;
  /** Our program as the agent sees it. */
  readonly binary?: string;
}

type Place = Pick<PagesFor, 'pid' | 'page' | 'pages'>;

function writeMessage(to: Buffer, at: number, type: number, { pid, page, pages }: Place): void {
  to.writeUInt32LE(type, at);
  to.writeUInt32LE(pages, at + 4);
  // The address, without the cost of a BigInt for each run of pages.
  to.writeUInt32LE((page % pagesOf4GiB) * pageBytes, at + 8);
  to.writeUInt32LE(Math.floor(page / pagesOf4GiB), at + 12);
  to.writeInt32LE(pid, at + 16);
  to.writeInt32LE(0, at + 20);
}

function message(type: number, place: Place): Buffer {
  const bytes = Buffer.allocUnsafe(messageBytes);
  writeMessage(bytes, 0, type, place);
  return bytes;
}

/** What the filler must know of a process before it is there: where its missing pages are. Neighbours are one; pages of zeroes are none. */
function present(images: readonly PageImage[]): Buffer {
  const parts: Buffer[] = [];
  for (const { kind: of, id: pid, runs } of images) {
    if (of !== 'pid') continue;
    let from = 0;
    let to = 0;
    const tell = (): void => {
      if (to > from) parts.push(message(kind.present, { pid, page: from, pages: to - from }));
    };
    for (let i = 0; i < runs.length; i += 1) {
      if (!runs.comesLater(i)) continue;
      if (runs.page(i) !== to) {
        tell();
        from = runs.page(i);
      }
      to = runs.end(i);
    }
    tell();
  }
  return Buffer.concat(parts);
}

const contentOf = ({ bytes, at, pages }: PagesFor): Uint8Array => bytes.subarray(at, at + pages * pageBytes);

/** Fragmented memory has its orders and contents put together, so that it does not cost a write for each page. */
const fewestPages = 64;

const spareBytes = 2 * 1024 * 1024;

/** Sends orders with their content. Buffers are used again: each new one of this size would be mapped and cleared by the kernel. */
function sendingTo(socket: Socket): (pages: readonly PagesFor[]) => Promise<void> {
  const spare: Buffer[] = [];
  return async (pages) => {
    const total = pages.reduce((sum, { pages: count }) => sum + count, 0);
    if (pages.length * fewestPages <= total) {
      await write(
        socket,
        pages.flatMap((one) => [message(kind.copy, one), contentOf(one)]),
      );
      return;
    }
    const bytes = pages.length * messageBytes + total * pageBytes;
    const known = spare.pop();
    const buffer =
      known !== undefined && known.byteLength >= bytes ? known : Buffer.allocUnsafeSlow(Math.max(bytes, spareBytes));
    let at = 0;
    for (const one of pages) {
      writeMessage(buffer, at, kind.copy, one);
      buffer.set(contentOf(one), at + messageBytes);
      at += messageBytes + one.pages * pageBytes;
    }
    await write(socket, [buffer.subarray(0, at)]);
    spare.push(buffer);
  };
}

async function write(socket: Socket, parts: readonly Uint8Array[]): Promise<void> {
  const last = parts.at(-1);
  if (last === undefined || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    socket.cork();
    for (const part of parts.slice(0, -1)) socket.write(part);
    // An error comes from the other end, which says why with its own words.
    socket.write(last, () => resolve());
    socket.uncork();
  });
}

/**
 * Starts the filler and waits until CRIU's restore may find it.
 * @throws PodferryError CRIU_RESTORE_FAILED, or the signal's reason
 */
export async function startFiller(options: FillerOptions): Promise<Filler> {
  const { imagesDir, signal, binary = paths.placeholder } = options;
  const run = { file: binary, args: ['fill-pages', imagesDir], env: {} };
  const child = await startChild(run, ['pipe', 'pipe'], 'CRIU_RESTORE_FAILED');
  const urgent = child.process.stdio[3] as Socket;
  const bulk = child.process.stdio[4] as Socket;
  const done = child.ended.then((end) => {
    if (end.exitCode === 0) return;
    throw new PodferryError('CRIU_RESTORE_FAILED', `the filler ${describeEnd(end)}: ${end.stderr.join('; ')}`);
  });
  done.catch(() => undefined);
  for (const socket of [urgent, bulk]) socket.on('error', () => socket.destroy());
  bulk.resume();
  const close = (): void => {
    urgent.destroy();
    bulk.destroy();
  };
  void done.then(close, close);
  const kill = async (): Promise<void> => {
    await endWithin(child, 0);
    close();
  };

  let touched: (touch: Touch) => void = () => undefined;
  const listening = new Promise<void>((resolve) =>
    hear(urgent, { listening: resolve, touched: (touch) => touched(touch) }),
  );
  try {
    const aborted = once(signal, 'abort').then(() => signal.throwIfAborted());
    signal.throwIfAborted();
    await Promise.race([listening, done, aborted]);
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    pid: child.process.pid ?? 0,
    done,
    expect: (images) => void urgent.write(present(images)),
    onTouch: (listener) => (touched = listener),
    putNow: sendingTo(urgent),
    put: sendingTo(bulk),
    end: () => void bulk.write(message(kind.end, { pid: 0, page: 0, pages: 0 })),
    kill,
  };
}

function hear(socket: Socket, to: { listening(): void; touched(touch: Touch): void }): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (; rest.byteLength - at >= messageBytes; at += messageBytes) {
      const type = rest.readUInt32LE(at);
      const page = Number(rest.readBigUInt64LE(at + 8) / BigInt(pageBytes));
      if (type === kind.listening) to.listening();
      else if (type === kind.touched) to.touched({ pid: rest.readInt32LE(at + 16), page });
    }
    rest = rest.subarray(at);
  });
}
