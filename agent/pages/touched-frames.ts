import { frameBytes } from '../store/frames.ts';
import type { PackReader } from '../store/pack-reader.ts';
import { pageBytes } from './page-size.ts';

/** Frames kept: what was touched once is often followed by its neighbours. 16 MiB. */
const keptFrames = 64;

export const framePages = frameBytes / pageBytes;

/** In which frame of its pack a page lies. */
export const frameOf = (at: number): number => Math.floor(at / framePages);

/** Pages of packs that are not in memory, read by the frame: what somebody waits for must not wait for 8 MiB. */
export class TouchedFrames {
  readonly #reader: PackReader;
  /** The one touched last is last. */
  readonly #frames = new Map<string, Promise<Buffer>>();

  constructor(reader: PackReader) {
    this.#reader = reader;
  }

  /**
   * Pages of a pack from `at` on: at least one, at most `pages`, as many as lie in the same frame.
   * @throws PodferryError as PackReader.frame
   */
  async read(pack: number, at: number, pages: number): Promise<Buffer> {
    const frame = await this.#frame(pack, at);
    const from = (at % framePages) * pageBytes;
    return frame.subarray(from, from + pages * pageBytes);
  }

  #frame(pack: number, at: number): Promise<Buffer> {
    const index = frameOf(at);
    const name = `${pack} ${index}`;
    const frame = this.#frames.get(name) ?? this.#reader.frame(pack, index);
    this.#frames.delete(name);
    this.#frames.set(name, frame);
    for (const oldest of this.#frames.keys()) {
      if (this.#frames.size <= keptFrames) break;
      this.#frames.delete(oldest);
    }
    return frame;
  }
}
