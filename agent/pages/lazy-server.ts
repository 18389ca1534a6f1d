import type { Socket } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import { command, decodeHeader, encodeHeader, headerBytes, pageFlags, type Header } from '../criu/page-xfer.ts';
import type { PageImage, PageRun } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import { sliceRuns } from './page-runs.ts';
import { pageBytes } from './page-size.ts';

const zeroes = Buffer.alloc(256 * pageBytes);
const intZero = Buffer.alloc(4);

/** Most pages one request may ask for: CRIU's own limit is 4 MiB. */
const maxRequestPages = 4096;

/** Of the packs in memory, those that requests under way may hold. */
const reservedSlots = 4;

export interface LazyServerOptions {
  /** Our end of the connection to `criu lazy-pages`. */
  readonly socket: Socket;
  readonly images: readonly PageImage[];
  readonly reader: PackReader;
  /** Gets the first error; nothing is answered afterwards. The processes must be killed before the socket is closed. */
  readonly fail: (error: unknown) => void;
}

interface Process {
  readonly runs: readonly PageRun[];
  readonly packs: readonly number[];
  /** Position in packs of the one last asked for. */
  at: number;
}

/**
 * The page server of a lazy restore: answers `criu lazy-pages`, which asks for ascending ranges of each process in turn and
 * for single pages that were touched. Answers must keep the order of the requests: CRIU matches them by position.
 * The daemon waits for each answer, so packs are read ahead of it.
 */
export class LazyServer {
  readonly #options: LazyServerOptions;
  readonly #processes: ReadonlyMap<bigint, Process>;
  /** How many packs are read ahead for each process. */
  readonly #ahead: number;
  #received: Buffer = Buffer.alloc(0);
  #answering: Promise<void> = Promise.resolve();
  #isStopped = false;
  #servedPages = 0;

  constructor(options: LazyServerOptions) {
    this.#options = options;
    const processes = options.images
      .filter((image) => image.kind === 'pid')
      .map(({ id, runs }): [bigint, Process] => [BigInt(id), { runs, packs: lazyPacks(runs), at: 0 }]);
    this.#processes = new Map(processes);
    this.#ahead = Math.max(Math.floor((options.reader.capacity - reservedSlots) / Math.max(processes.length, 1)), 1);
    options.socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // It comes from the daemon's end, which says why in its own words.
    options.socket.on('error', () => this.stop());
  }

  get servedPages(): number {
    return this.#servedPages;
  }

  /** Answers nothing any more. */
  stop(): void {
    this.#isStopped = true;
  }

  #failed(error: unknown): void {
    if (this.#isStopped) return;
    this.stop();
    this.#options.fail(error);
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.byteLength === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (this.#received.byteLength >= headerBytes && !this.#isStopped) {
      try {
        const header = decodeHeader(this.#received);
        this.#answering = this.#answering
          .then(() => this.#answer(header))
          .catch((error: unknown) => this.#failed(error));
      } catch (error) {
        this.#failed(error);
      }
      this.#received = this.#received.subarray(headerBytes);
    }
  }

  async #answer(header: Header): Promise<void> {
    if (this.#isStopped) return;
    if (header.command === command.close || header.command === command.forceClose) {
      this.#options.socket.write(intZero);
      return;
    }
    const asked = this.#processes.get(header.destination);
    if (header.command !== command.get || asked === undefined || header.pages > maxRequestPages) {
      throw new PodferryError('PAGE_PROTOCOL', `criu lazy-pages sent the command ${header.command}`, {
        pages: header.pages,
      });
    }
    const parts = sliceRuns(asked.runs, header.page, header.pages);
    if (parts === undefined) {
      throw new PodferryError('PAGE_PROTOCOL', 'criu lazy-pages asked for pages that were never stored', {
        page: header.page,
        pages: header.pages,
      });
    }
    await this.#send(header, asked, parts);
  }

  /** Writes header and pages in one piece; the packs are held until the kernel has taken them. */
  async #send(header: Header, asked: Process, parts: readonly PageRun[]): Promise<void> {
    const { reader, socket } = this.#options;
    const held: number[] = [];
    const content: Uint8Array[] = [];
    for (const { pack, at, pages } of parts) {
      if (pack < 0) {
        for (let left = pages * pageBytes; left > 0; left -= zeroes.byteLength) content.push(zeroes.subarray(0, left));
        continue;
      }
      const bytes = await reader.hold(pack);
      held.push(pack);
      content.push(bytes.subarray(at * pageBytes, (at + pages) * pageBytes));
    }
    if (this.#isStopped) return;
    // Only now: what this answer still needs is held.
    const last = held.at(-1);
    if (last !== undefined) this.#moveOn(asked, last);
    socket.cork();
    socket.write(encodeHeader({ ...header, command: command.add, flags: pageFlags.present }));
    for (const [i, bytes] of content.entries()) {
      if (i < content.length - 1) socket.write(bytes);
      else socket.write(bytes, () => held.forEach((pack) => reader.release(pack)));
    }
    socket.uncork();
    this.#servedPages += header.pages;
  }

  /** Reads ahead of a process, and gives up what every process has behind it. */
  #moveOn(asked: Process, pack: number): void {
    const { reader } = this.#options;
    const at = asked.packs.indexOf(pack);
    // A touched page may lie anywhere; only what comes in order moves the window.
    if (at < asked.at || at > asked.at + this.#ahead) return;
    const passed = asked.packs.slice(asked.at, at);
    asked.at = at;
    const ahead = [...this.#processes.values()].flatMap((process) => process.packs.slice(process.at));
    for (const index of passed) if (!ahead.includes(index)) reader.done(index);
    reader.prefetch(asked.packs.slice(at + 1, at + 1 + this.#ahead));
  }
}

/** Packs that hold lazy pages of a process, in the order in which they will be asked for. */
function lazyPacks(runs: readonly PageRun[]): number[] {
  return [...new Set(runs.filter((run) => run.pack >= 0 && isLazy(run)).map((run) => run.pack))];
}

const isLazy = (run: PageRun): boolean => (run.flags & pageFlags.lazy) !== 0;

/**
 * The packs that a lazy restore needs first, so that they can be read before the daemon asks: the daemon goes through all
 * processes at the same time.
 */
export function firstPacks(images: readonly PageImage[]): number[] {
  const lists = images.filter((image) => image.kind === 'pid').map((image) => lazyPacks(image.runs));
  const longest = Math.max(0, ...lists.map((list) => list.length));
  const rounds = Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1)));
  return [...new Set(rounds.flat())];
}
