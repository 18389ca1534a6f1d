import type { Socket } from 'node:net';
import { PodferryError } from '../../proto/errors.ts';
import { command, imageOf, pageFlags, PageXferParser, type Header, type PageSink } from '../criu/page-xfer.ts';
import type { PageImage, PageKind } from '../store/manifest.ts';
import type { PackWriter } from '../store/pack-writer.ts';
import { PageRunsWriter, zeroPack } from '../store/page-runs.ts';
import { pageBytes } from './page-size.ts';
import { SocketReader } from './socket-reader.ts';
import { zeroStretches } from './zero-pages.ts';

const noParent = Buffer.from([0]);
const intZero = Buffer.alloc(4);

/** Content of one message, or of the part of it that fits its pack, while it arrives. */
interface Segment {
  readonly pack: number;
  readonly offset: number;
  readonly memory: Buffer;
  bytes: number;
}

interface ImageUnderWay {
  readonly kind: PageKind;
  readonly id: number;
  readonly runs: PageRunsWriter;
}

/** Pages are written to one of two places, in whole pages from the start of a pack on. */
export interface PageWriters {
  /** What a restore needs before it can start, so that this is together in few packs; the caller writes on and seals it. */
  readonly local: PackWriter;
  /** What the filler puts in later. */
  readonly lazy: PackWriter;
}

/**
 * The page server of a dump: receives every page that CRIU sends, straight into packs, and remembers where each one is.
 * Pages that are all zeroes are remembered but not stored. CRIU waits while no pack has room.
 */
export class PageReceiver implements PageSink {
  readonly #writers: PageWriters;
  readonly #parser = new PageXferParser(this);
  readonly #images = new Map<bigint, ImageUnderWay>();
  readonly #reader: SocketReader;
  readonly #onFirst: () => void;
  #image: ImageUnderWay | undefined;
  #flags = 0;
  #page = 0;
  #segment: Segment | undefined;
  #closed = false;
  #started = false;
  #bytes = 0;

  /**
   * @param onFirst called at the first message: every process of the tree is stopped by then
   * @param fail gets the first error (PAGE_PROTOCOL, or the socket's); nothing is received afterwards
   */
  constructor(socket: Socket, writers: PageWriters, onFirst: () => void, fail: (error: unknown) => void) {
    this.#writers = writers;
    this.#onFirst = onFirst;
    this.#reader = new SocketReader(socket, this.#parser, (call) => writers.lazy.upload.whenFree(call), fail);
  }

  /** Bytes of pages received, zeroes included. */
  get pageBytes(): number {
    return this.#bytes;
  }

  /** Closes the connection, on which CRIU gives up by itself. */
  destroy(): void {
    this.#reader.destroy();
  }

  /** What was received. To be called when CRIU has ended well. @throws PodferryError PAGE_PROTOCOL when it did not say so */
  finish(): PageImage[] {
    this.#reader.destroy();
    if (!this.#closed || !this.#parser.atBoundary) {
      throw new PodferryError('PAGE_PROTOCOL', 'CRIU ended without closing its page server');
    }
    this.#writers.lazy.seal();
    return Array.from(this.#images.values(), (image) => ({ ...image, runs: image.runs.runs() }));
  }

  message(header: Header): void {
    if (!this.#started) {
      this.#started = true;
      this.#onFirst();
    }
    switch (header.command) {
      case command.open:
        this.#open(header.destination);
        this.#reader.socket.write(noParent);
        return;
      case command.parent:
        this.#reader.socket.write(intZero);
        return;
      case command.add:
        this.#add(header);
        return;
      case command.close:
      case command.forceClose:
        this.#closed = true;
        this.#reader.socket.write(intZero);
        return;
      default:
        throw new PodferryError('PAGE_PROTOCOL', `CRIU sent the unknown command ${header.command}`);
    }
  }

  room(bytes: number): Buffer | undefined {
    const room = this.#writer().room();
    return room?.subarray(0, Math.min(bytes, room.byteLength));
  }

  filled(bytes: number): void {
    const room = this.#writer().room();
    if (room === undefined) throw new RangeError('filled without room');
    const { pack, offset } = this.#writer().advance(bytes);
    this.#segment ??= { pack, offset, memory: room, bytes: 0 };
    this.#segment.bytes += bytes;
    this.#bytes += bytes;
    if (this.#parser.content === 0 || bytes === room.byteLength) this.#finishSegment(this.#segment);
  }

  #writer(): PackWriter {
    return (this.#flags & pageFlags.lazy) === 0 ? this.#writers.local : this.#writers.lazy;
  }

  #open(destination: bigint): void {
    const { kind, id } = imageOf(destination);
    if (this.#images.has(destination)) throw new PodferryError('PAGE_PROTOCOL', `CRIU opened ${kind} ${id} twice`);
    this.#image = { kind, id, runs: new PageRunsWriter() };
    this.#images.set(destination, this.#image);
  }

  #add(header: Header): void {
    if (this.#image === undefined) throw new PodferryError('PAGE_PROTOCOL', 'CRIU sent pages before opening an image');
    // Without a parent and without --lazy-pages each entry has its content.
    if ((header.flags & pageFlags.present) === 0 || (header.flags & pageFlags.parent) !== 0) {
      throw new PodferryError('PAGE_PROTOCOL', `CRIU sent pages with the flags ${header.flags}`);
    }
    this.#flags = header.flags;
    this.#page = header.page;
  }

  /** Notes where the pages are, and closes the gaps that pages of zeroes leave in the pack. */
  #finishSegment(segment: Segment): void {
    this.#segment = undefined;
    const memory = segment.memory.subarray(0, segment.bytes);
    let from = 0;
    let to = 0;
    for (const { isZero, pages } of zeroStretches(memory)) {
      const bytes = pages * pageBytes;
      if (!isZero && from !== to) memory.copyWithin(to, from, from + bytes);
      const at = isZero ? 0 : (segment.offset + to) / pageBytes;
      this.#image?.runs.add(this.#page, pages, this.#flags, isZero ? zeroPack : segment.pack, at);
      this.#page += pages;
      from += bytes;
      if (!isZero) to += bytes;
    }
    this.#writer().retreat(from - to);
  }
}
