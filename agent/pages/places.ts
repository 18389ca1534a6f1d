import { firstIndex, type PageRun, type PageRuns } from '../store/page-runs.ts';

/** Pages of a process that lie together in a pack. */
export interface Place {
  readonly pid: number;
  readonly run: PageRun;
}

/** The part of a place that lies in the pack's pages [from, to). */
export function cutPlace({ pid, run }: Place, from: number, to: number): Place {
  const at = Math.max(run.at, from);
  const pages = Math.min(run.at + run.pages, to) - at;
  return { pid, run: { ...run, page: run.page + at - run.at, pages, at } };
}

/** Index of the first place that ends after a page of the pack; their number when there is none. @param places of one pack, in order */
export const firstPlaceFrom = (places: readonly Place[], page: number): number =>
  firstIndex(places.length, (i) => {
    const run = places[i]?.run;
    return run !== undefined && run.at + run.pages > page;
  });

interface RunsInPack {
  readonly pid: number;
  readonly runs: PageRuns;
  readonly indices: number[];
}

/** Which pages of which processes come from which pack. The places of a pack are made when it has its turn: of all at once they would hold a restore up. */
export class Places {
  readonly #inPack = new Map<number, RunsInPack[]>();
  readonly #made = new Map<number, readonly Place[]>();

  /** @param processes by pid, what comes later */
  constructor(processes: ReadonlyMap<number, PageRuns>) {
    for (const [pid, runs] of processes) {
      const ofProcess = new Map<number, number[]>();
      for (let i = 0; i < runs.length; i += 1) {
        const pack = runs.pack(i);
        const indices = ofProcess.get(pack);
        if (indices === undefined) ofProcess.set(pack, [i]);
        else indices.push(i);
      }
      for (const [pack, indices] of ofProcess) {
        const inPack = this.#inPack.get(pack) ?? [];
        if (inPack.length === 0) this.#inPack.set(pack, inPack);
        inPack.push({ pid, runs, indices });
      }
    }
  }

  get packs(): Iterable<number> {
    return this.#inPack.keys();
  }

  /** As they lie in the pack. */
  of(pack: number): readonly Place[] {
    const known = this.#made.get(pack);
    if (known !== undefined) return known;
    const places = (this.#inPack.get(pack) ?? []).flatMap(({ pid, runs, indices }) =>
      indices.map((i): Place => ({ pid, run: runs.run(i) })),
    );
    places.sort((a, b) => a.run.at - b.run.at);
    this.#made.set(pack, places);
    return places;
  }

  /** Gives up what was made for a pack. */
  done(pack: number): void {
    this.#made.delete(pack);
  }
}
