import { PodferryError } from '../../proto/errors.ts';
import type { HotImage, PageImage } from '../store/manifest.ts';
import type { PackReader } from '../store/pack-reader.ts';
import type { PageRun, PageRuns } from '../store/page-runs.ts';
import { Faults, type FaultFigures, type FaultSource } from '../telemetry/faults.ts';
import type { Filler, PagesFor, Touch } from './filler.ts';
import { hotFramesOf } from './hot-frames.ts';
import { pageBytes } from './page-size.ts';
import { cutPlace, firstPlaceFrom, Places, type Place } from './places.ts';
import { frameOf, framePages, TouchedFrames } from './touched-frames.ts';

/** How many packs are read at a time, unless told. */
export const defaultPrefetchWorkers = 4;

/** Of what was not urgent, under way to the filler at a time: a touched page waits for no more than the half of it. */
const chunkPages = 256;

/** How many hot frames are read at a time. */
const hotLanes = 8;

/** What comes with a touched page when it is at hand: its neighbours are often next. */
const touchPages = 16;

export interface PageFillingOptions {
  readonly filler: Filler;
  readonly images: readonly PageImage[];
  readonly reader: PackReader;
  /** How many packs are read at a time; 0: one, and none ahead. */
  readonly prefetchWorkers?: number;
  /** Reads what a touched page needs as soon as it is touched, not when its turn has come. Default: yes. */
  readonly faultPromotion?: boolean;
  /** Put in before all others. Default: none. */
  readonly hot?: readonly HotImage[];
  /** Gets the first error; nothing is put in afterwards. The processes must be killed before the filler. */
  readonly fail: (error: unknown) => void;
}

/** What was asked and how long it waited. */
export interface LazyCounts {
  readonly servedPages: number;
  readonly faults: number;
  /** That came with the touched ones, them included. */
  readonly faultPages: number;
  readonly stallP50Us: number;
  readonly stallP95Us: number;
  readonly stallP99Us: number;
  readonly stallMaxUs: number;
  readonly aheadHits: number;
  readonly aheadMisses: number;
  readonly directFaults: number;
  readonly hotPages: number;
}

/** Puts the pages of a lazy restore in: touched ones at once, all others pack by pack. */
export class PageFilling {
  readonly #options: PageFillingOptions;
  readonly #runs: ReadonlyMap<number, PageRuns>;
  #byPack: Places | undefined;
  /** Frames of which every page is on its way, or in. */
  readonly #framesPut = new Set<number>();
  /** Those that are not at the filler yet. */
  readonly #framesUnderWay = new Set<Promise<void>>();
  readonly #touchedFrames: TouchedFrames;
  readonly #faults = new Faults();
  /** Packs in memory. */
  readonly #held = new Map<number, Buffer>();
  /** Pages that are on their way to those who touched them. */
  readonly #underWay = new Set<string>();
  /** Touched pages that wait for their turn. */
  #queue: (() => Promise<void>)[] = [];
  #isStopped = false;
  #isFilling = false;
  #servedPages = 0;
  #faultPages = 0;
  #hits = 0;
  #misses = 0;
  #hotPages = 0;

  constructor(options: PageFillingOptions) {
    this.#options = options;
    const lazy = options.images.filter(({ kind }) => kind === 'pid');
    this.#runs = new Map(lazy.map(({ id, runs }) => [id, runs.later()]));
    this.#touchedFrames = new TouchedFrames(options.reader);
    options.filler.onTouch((touch) => this.#touched(touch));
  }

  /** Begins to put in the pages that nobody waits for. Until then whoever waits for a restored tree to go on has the processors. */
  fill(): void {
    if (this.#isFilling) return;
    this.#isFilling = true;
    this.#fillAll().catch((error: unknown) => this.#failed(error));
  }

  get counts(): LazyCounts {
    const { all } = this.#faults;
    return {
      servedPages: this.#servedPages,
      faults: all.count,
      faultPages: this.#faultPages,
      stallP50Us: all.quantileUs(0.5),
      stallP95Us: all.quantileUs(0.95),
      stallP99Us: all.quantileUs(0.99),
      stallMaxUs: all.maxUs,
      aheadHits: this.#hits,
      aheadMisses: this.#misses,
      directFaults: this.#faults.countOf('direct'),
      hotPages: this.#hotPages,
    };
  }

  get faultFigures(): FaultFigures {
    return this.#faults.figures();
  }

  /** Puts nothing in any more. */
  stop(): void {
    this.#isStopped = true;
  }

  #failed(error: unknown): void {
    if (this.#isStopped) return;
    this.stop();
    this.#options.fail(error);
  }

  // ---- touched pages

  #touched(touch: Touch): void {
    const name = `${touch.pid} ${touch.page}`;
    if (this.#isStopped || this.#underWay.has(name)) return;
    this.#underWay.add(name);
    const since = performance.now();
    const serve = (): Promise<void> => this.#serve(touch, since).finally(() => this.#underWay.delete(name));
    const { faultPromotion = true } = this.#options;
    if (faultPromotion || !this.#isFilling) serve().catch((error: unknown) => this.#failed(error));
    else this.#queue.push(serve);
  }

  async #serve({ pid, page }: Touch, since: number): Promise<void> {
    const runs = this.#runs.get(pid);
    const index = runs?.find(page);
    const run = index === undefined ? undefined : runs?.run(index);
    if (run === undefined) {
      throw new PodferryError('PAGE_PROTOCOL', 'the filler asked for a page that was never stored', { pid, page });
    }
    const source = this.#sourceOf(run.pack);
    if (source === 'store') this.#misses += 1;
    else this.#hits += 1;
    const around = neighbours(run, page);
    const content = await this.#contentOf(run, around);
    if (this.#isStopped) return;
    const pages = content.byteLength / pageBytes;
    await this.#options.filler.putNow([{ pid, page: around.page, pages, bytes: content, at: 0 }]);
    this.#faults.add(source, (performance.now() - since) * 1000);
    this.#faultPages += pages;
    // A frame that was opened for one page serves for all its pages: memory that is touched all over would have it opened again and again.
    if (!this.#held.has(run.pack)) await this.#putFrame(run.pack, frameOf(run.at + page - run.page));
  }

  #sourceOf(pack: number): FaultSource {
    if (this.#options.reader.isDirect(pack)) return 'direct';
    return this.#held.has(pack) ? 'ahead' : 'store';
  }

  async #contentOf({ pack, at, page: first }: PageRun, { page, pages }: Range): Promise<Uint8Array> {
    const from = at + page - first;
    const held = this.#held.get(pack);
    // A copy: the pack may be given up before the socket has taken it.
    if (held !== undefined) return Uint8Array.from(held.subarray(from * pageBytes, (from + pages) * pageBytes));
    return this.#touchedFrames.read(pack, from, pages);
  }

  async #serveQueue(): Promise<void> {
    const waiting = this.#queue;
    this.#queue = [];
    for (const serve of waiting) await serve();
  }

  // ---- all others

  async #fillAll(): Promise<void> {
    const { filler, reader, images, hot = [], prefetchWorkers = defaultPrefetchWorkers } = this.#options;
    const hotFrames = hotFramesOf(images, hot);
    const lane = async (): Promise<void> => {
      for (let next = hotFrames.shift(); next !== undefined; next = hotFrames.shift()) {
        this.#hotPages += next.pages;
        await this.#putFrame(next.pack, next.frame);
      }
    };
    await Promise.all(Array.from({ length: hotLanes }, lane));
    // Stored last is changed last.
    const packs = [...this.#places.packs].toSorted((a, b) => b - a);
    const coming = new Map<number, Promise<Buffer>>();
    const readAhead = (from: number): void => {
      for (const pack of packs.slice(from, from + Math.max(prefetchWorkers, 1))) {
        if (coming.has(pack) || this.#isPut(pack)) continue;
        const ready = reader.hold(pack);
        ready.then(
          (bytes) => this.#held.set(pack, bytes),
          () => undefined, // told where it is awaited
        );
        coming.set(pack, ready);
      }
    };
    for (const [i, pack] of packs.entries()) {
      readAhead(i);
      const bytes = await coming.get(pack);
      if (this.#isStopped) return;
      if (bytes === undefined) continue; // all its frames were put in for those who touched them
      await this.#putPack(pack, bytes);
      coming.delete(pack);
      this.#held.delete(pack);
      reader.done(pack);
      reader.release(pack);
      this.#places.done(pack);
    }
    await this.#serveQueue();
    while (this.#framesUnderWay.size > 0) await Promise.all(this.#framesUnderWay);
    if (!this.#isStopped) filler.end();
  }

  /** Made when it is first needed: not while a restore waits for it. */
  get #places(): Places {
    return (this.#byPack ??= new Places(this.#runs));
  }

  #isPut(pack: number): boolean {
    return this.#places.of(pack).every(({ run: { at, pages } }) => {
      for (let frame = frameOf(at); frame <= frameOf(at + pages - 1); frame += 1) {
        if (!this.#framesPut.has(frameName(pack, frame))) return false;
      }
      return true;
    });
  }

  /** All pages of one frame, unless they are on their way. */
  async #putFrame(pack: number, frame: number): Promise<void> {
    const name = frameName(pack, frame);
    if (this.#isStopped || this.#framesPut.has(name)) return;
    this.#framesPut.add(name);
    const work = this.#openAndPut(pack, frame).finally(() => this.#framesUnderWay.delete(work));
    this.#framesUnderWay.add(work);
    await work;
  }

  async #openAndPut(pack: number, frame: number): Promise<void> {
    const first = frame * framePages;
    const bytes = await this.#touchedFrames.read(pack, first, framePages);
    const end = first + bytes.byteLength / pageBytes;
    const places = this.#places.of(pack);
    const inside: Place[] = [];
    for (let i = firstPlaceFrom(places, first); i < places.length; i += 1) {
      const place = places[i];
      if (place === undefined || place.run.at >= end) break;
      inside.push(cutPlace(place, first, end));
    }
    await this.#put(inside, bytes, first);
  }

  async #putPack(pack: number, bytes: Buffer): Promise<void> {
    const rest = this.#places.of(pack).flatMap((place): readonly Place[] => {
      const { at, pages } = place.run;
      const parts: Place[] = [];
      let from = at;
      for (let frame = frameOf(at); frame <= frameOf(at + pages - 1); frame += 1) {
        if (!this.#framesPut.has(frameName(pack, frame))) continue;
        if (from < frame * framePages) parts.push(cutPlace(place, from, frame * framePages));
        from = (frame + 1) * framePages;
      }
      if (from === at) return [place];
      if (from < at + pages) parts.push(cutPlace(place, from, at + pages));
      return parts;
    });
    await this.#put(rest, bytes, 0);
  }

  /** @param first of the pack's pages, with which the bytes begin */
  async #put(places: readonly Place[], bytes: Buffer, first: number): Promise<void> {
    let batch: PagesFor[] = [];
    let pages = 0;
    let last: Promise<void> = Promise.resolve();
    const send = async (): Promise<void> => {
      // One chunk is taken while the next is made.
      await last;
      last = this.#options.filler.put(batch);
      this.#servedPages += pages;
      batch = [];
      pages = 0;
      await this.#serveQueue();
    };
    for (const { pid, run } of places) {
      for (let done = 0; done < run.pages && !this.#isStopped;) {
        const count = Math.min(run.pages - done, chunkPages);
        batch.push({ pid, page: run.page + done, pages: count, bytes, at: (run.at + done - first) * pageBytes });
        pages += count;
        done += count;
        if (pages >= chunkPages) await send();
      }
    }
    await send();
    await last;
  }
}

interface Range {
  readonly page: number;
  readonly pages: number;
}

/** The pages of the run that lie in one block of memory, and in one frame of the pack, with this one. */
function neighbours(run: PageRun, page: number): Range {
  const frame = frameOf(run.at + page - run.page);
  const inFrame = run.page - run.at + frame * framePages;
  const from = Math.max(run.page, inFrame, page - (page % touchPages));
  const to = Math.min(run.page + run.pages, inFrame + framePages, page - (page % touchPages) + touchPages);
  return { page: from, pages: to - from };
}

const mostFrames = 2 ** 20;
const frameName = (pack: number, frame: number): number => pack * mostFrames + frame;
