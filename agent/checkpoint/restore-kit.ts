import { BufferPool } from '../store/buffer-pool.ts';
import { FrameThreads } from '../store/frame-threads.ts';
import { frameBytes, framesOf } from '../store/frames.ts';
import { encodeManifest, packBytes, parseManifest, sha256Hex, type Manifest } from '../store/manifest.ts';
import { PageRuns, zeroPack } from '../store/page-runs.ts';
import type { Sealing } from '../store/sealing.ts';

/** Bounds the agent's memory: this many packs are read ahead or being served at a time. */
const packsInMemory = 16;

/** Enough for the compiler to take notice. */
const practiceRuns = 20_000;
const practicePacks = 200;
const practiceRounds = 3;

/** What every restore needs, whatever it restores. */
export interface RestoreKit {
  readonly frames: FrameThreads;
  readonly pool: BufferPool;
}

export const makeKit = (): RestoreKit => ({
  frames: new FrameThreads(),
  pool: new BufferPool(packsInMemory, packBytes),
});

/** A kit made ready ahead of its restore: threads take their time to start, memory to be touched first, and code to be compiled. */
export class KitHolder {
  #kit: RestoreKit | undefined;

  warm(sealing: Sealing): void {
    if (this.#kit !== undefined) return;
    this.#kit = makeKit();
    this.#kit.pool.warm();
    const practice = encodeManifest(practiceManifest(sealing.instance), sealing);
    for (let i = 0; i < practiceRounds; i += 1) parseManifest(practice, sealing);
  }

  /** The taker closes its threads. */
  take(): RestoreKit {
    const kit = this.#kit ?? makeKit();
    this.#kit = undefined;
    return kit;
  }
}

function practiceManifest(instance: string): Manifest {
  const runs = Array.from({ length: practiceRuns }, (_, i) => ({
    page: 2 * i,
    pages: 1,
    flags: 6,
    pack: zeroPack,
    at: 0,
  }));
  return {
    checkpoint: 'practice',
    instance,
    generation: 0,
    facts: { criu: '', kernel: '', machine: '', cpuFlags: [] },
    rootPid: 1,
    stoppedBefore: [],
    stdio: [],
    packs: Array.from({ length: practicePacks }, (_, i) => ({
      key: `practice/${i}`,
      bytes: packBytes,
      frames: Array.from({ length: framesOf(packBytes) }, () => frameBytes),
      sha256: sha256Hex(Buffer.of(i)),
    })),
    images: [],
    pages: [{ kind: 'pid', id: 1, runs: PageRuns.of(runs) }],
  };
}
