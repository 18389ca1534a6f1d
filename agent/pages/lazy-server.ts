import type { Socket } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import { command, decodeHeader, encodeHeader, headerBytes, pageFlags, type Header } from '../criu/page-xfer.ts';
import type { PageImage, PageRun } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import { findRun, firstRunFrom, sliceRuns } from './page-runs.ts';
import { pageBytes } from './page-size.ts';
import { ReadAhead, type Cursor } from './read-ahead.ts';
import { Stalls } from './stalls.ts';
import { TouchedFrames } from './touched-frames.ts';

/** Most pages one request may ask for: CRIU's own limit is 4 MiB. */
const maxRequestPages = 4096;

const zeroes = Buffer.alloc(1024 * pageBytes);
const intZero = Buffer.alloc(4);

/** How many packs are read at a time, unless told. */
export const defaultPrefetchWorkers = 4;

export interface LazyServerOptions {
  /** Our end of the connection to `criu lazy-pages`. */
  readonly socket: Socket;
  readonly images: readonly PageImage[];
  readonly reader: PackReader;
  /** How many packs are read at a time ahead of CRIU; 0: none. */
  readonly prefetchWorkers?: number;
  /** Reads what a touched page needs as soon as its request is there, not when its turn has come. Default: yes. */
  readonly faultPromotion?: boolean;
  /** Gets the first error; nothing is answered afterwards. The processes must be killed before the socket is closed. */
  readonly fail: (error: unknown) => void;
}

/** What was asked and how long it waited. */
export interface LazyCounts {
  readonly servedPages: number;
  readonly faults: number;
  readonly stallP50Us: number;
  readonly stallP95Us: number;
  readonly stallP99Us: number;
  readonly stallMaxUs: number;
  readonly aheadHits: number;
  readonly aheadMisses: number;
}

interface Request {
  readonly header: Header;
  readonly cursor: Cursor;
  readonly parts: readonly PageRun[];
  readonly isFault: boolean;
  readonly arrivedAt: number;
}

/**
 * The page server of a lazy restore: answers `criu lazy-pages`, which fills each process in ascending order (one range of up to 4 MiB
 * under way for each) and asks for single pages that were touched before they came.
 *
 * CRIU matches answers to requests by their order, so a touched page cannot overtake. But an answer may hold fewer
 * pages than asked for, at least one, and CRIU asks again for the others: a range is answered with as much of it as is in memory,
 * and so a touched page waits for one read of the store at most besides its own, which begins at once.
 * @see checkpoint-restore/criu criu/page-xfer.c page_server_async_read, criu/uffd.c uffd_io_complete (v4.2)
 */
export class LazyServer {
  readonly #options: LazyServerOptions;
  readonly #processes: ReadonlyMap<bigint, Cursor>;
  readonly #ahead: ReadAhead;
  readonly #touched: TouchedFrames;
  readonly #stalls = new Stalls();
  #received: Buffer = Buffer.alloc(0);
  #answering: Promise<void> = Promise.resolve();
  #isStopped = false;
  #isFilling = false;
  /** Touched pages that are not answered yet. */
  #waitingFaults = 0;
  #wake: () => void = () => undefined;
  #servedPages = 0;
  #hits = 0;
  #misses = 0;

  constructor(options: LazyServerOptions) {
    this.#options = options;
    this.#processes = new Map(
      options.images
        .filter((image) => image.kind === 'pid')
        .map(({ id, runs }): [bigint, Cursor] => [BigInt(id), { runs: runs.filter(isLazy), page: 0 }]),
    );
    this.#ahead = new ReadAhead([...this.#processes.values()], {
      reader: options.reader,
      workers: options.prefetchWorkers ?? defaultPrefetchWorkers,
      fail: (error) => this.#failed(error),
    });
    this.#touched = new TouchedFrames(options.reader);
    options.socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // It comes from the daemon's end, which says why in its own words.
    options.socket.on('error', () => this.stop());
  }

  /**
   * Begins to answer what CRIU asks for in order, and to read ahead. Until then only touched pages are answered, with as little as can be of
   * what was asked for before them: whoever waits for a restored tree to go on needs the processors.
   */
  fill(): void {
    if (this.#isFilling) return;
    this.#isFilling = true;
    this.#wake();
    this.#ahead.advance();
  }

  get counts(): LazyCounts {
    return {
      servedPages: this.#servedPages,
      faults: this.#stalls.count,
      stallP50Us: this.#stalls.quantileUs(0.5),
      stallP95Us: this.#stalls.quantileUs(0.95),
      stallP99Us: this.#stalls.quantileUs(0.99),
      stallMaxUs: this.#stalls.maxUs,
      aheadHits: this.#hits,
      aheadMisses: this.#misses,
    };
  }

  /** Answers nothing any more. */
  stop(): void {
    this.#isStopped = true;
    this.#wake();
    this.#ahead.stop();
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
        this.#take(decodeHeader(this.#received));
      } catch (error) {
        this.#failed(error);
      }
      this.#received = this.#received.subarray(headerBytes);
    }
  }

  #take(header: Header): void {
    const isEnd = header.command === command.close || header.command === command.forceClose;
    const request = isEnd ? undefined : this.#request(header);
    const first = request?.parts[0];
    const { faultPromotion = true } = this.#options;
    if (faultPromotion && request?.isFault === true && first !== undefined && !this.#isInMemory(first)) {
      this.#touched.begin(first.pack, first.at);
    }
    if (request?.isFault === true) this.#waitingFaults += 1;
    this.#wake();
    this.#answering = this.#answering
      .then(() => (request === undefined ? this.#confirm() : this.#inTurn(request)))
      .catch((error: unknown) => this.#failed(error));
  }

  #request(header: Header): Request {
    const cursor = this.#processes.get(header.destination);
    if (header.command !== command.get || cursor === undefined || header.pages > maxRequestPages) {
      throw new PodferryError('PAGE_PROTOCOL', `criu lazy-pages sent the command ${header.command}`, {
        pages: header.pages,
      });
    }
    const parts = sliceRuns(cursor.runs, header.page, header.pages);
    if (parts === undefined || parts.length === 0) {
      throw new PodferryError('PAGE_PROTOCOL', 'criu lazy-pages asked for pages that were never stored', {
        page: header.page,
        pages: header.pages,
      });
    }
    // A touched page is asked for alone. So is the last page of a range in its turn, but then nothing follows it.
    const next = cursor.runs[firstRunFrom(cursor.runs, cursor.page)];
    const isInTurn = next !== undefined && header.page === Math.max(next.page, cursor.page);
    const isLast = findRun(cursor.runs, header.page + 1) === undefined;
    const isFault = header.pages === 1 && !(isInTurn && isLast);
    return { header, cursor, parts, isFault, arrivedAt: performance.now() };
  }

  #confirm(): void {
    if (!this.#isStopped) this.#options.socket.write(intZero);
  }

  #isInMemory({ pack }: PageRun): boolean {
    return pack < 0 || this.#ahead.has(pack);
  }

  /** Content of a part, or of its beginning. `held` gets what must be released when the content was sent. */
  async #content({ pack, at, pages }: PageRun, isFault: boolean, held: number[]): Promise<Uint8Array> {
    if (pack < 0) return zeroes.subarray(0, pages * pageBytes);
    const isWhole = this.#ahead.has(pack) || (this.#ahead.isComing(pack) && !isFault);
    if (!isWhole) return this.#touched.read(pack, at, pages);
    const bytes = await this.#options.reader.hold(pack);
    held.push(pack);
    return bytes.subarray(at * pageBytes, (at + pages) * pageBytes);
  }

  /** CRIU takes answers in the order of its requests only: a touched page pulls those before it along. */
  async #inTurn(request: Request): Promise<void> {
    while (!this.#isFilling && this.#waitingFaults === 0 && !this.#isStopped) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    await this.#answer(request);
    if (request.isFault) this.#waitingFaults -= 1;
  }

  /** Writes header and pages in one piece; the packs are held until the kernel has taken them. */
  async #answer(request: Request): Promise<void> {
    if (this.#isStopped) return;
    const { header, cursor, parts, isFault, arrivedAt } = request;
    const { reader, socket } = this.#options;
    const held: number[] = [];
    const content: Uint8Array[] = [];
    let given = 0;
    const isHit = parts[0] !== undefined && this.#isInMemory(parts[0]);
    // While others wait for the restore only what must come before a touched page.
    for (const part of this.#isFilling || isFault ? parts : parts.slice(0, 1)) {
      if (given > 0 && !this.#isInMemory(part)) break;
      const bytes = await this.#content(part, isFault, held);
      content.push(bytes);
      given += bytes.byteLength / pageBytes;
      if (bytes.byteLength < part.pages * pageBytes) break;
    }
    if (this.#isStopped) return;
    if (!isFault) {
      cursor.page = header.page + given;
      if (this.#isFilling) this.#ahead.advance();
    }
    const taken = (): void => {
      held.forEach((pack) => reader.release(pack));
      if (isFault) this.#stalls.add((performance.now() - arrivedAt) * 1000);
    };
    socket.cork();
    socket.write(encodeHeader({ ...header, pages: given, command: command.add, flags: pageFlags.present }));
    for (const [i, bytes] of content.entries()) {
      if (i < content.length - 1) socket.write(bytes);
      else socket.write(bytes, taken);
    }
    socket.uncork();
    this.#servedPages += given;
    if (isHit) this.#hits += 1;
    else this.#misses += 1;
  }
}

const isLazy = (run: PageRun): boolean => (run.flags & pageFlags.lazy) !== 0;
