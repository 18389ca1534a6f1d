import { setImmediate as turn } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import { PodferryError } from '../../proto/errors.ts';
import { hasVanished, type Process } from '../launch/proc-stat.ts';
import { applicationTree } from '../launch/process-tree.ts';
import type { WriteTracking } from '../profiler/write-tracking.ts';
import { BufferPool } from '../store/buffer-pool.ts';
import { FrameThreads } from '../store/frame-threads.ts';
import { packBytes, type Pack } from '../store/manifest.ts';
import { PackUpload, PackWriter, type PackUploadOptions } from '../store/pack-writer.ts';
import { parseAddressSpace, type AddressSpace } from './address-space.ts';
import { enterBaseline, type Baseline } from './baseline.ts';
import { HotPages } from './hot-pages.ts';
import { maxPacks, noChunks, PageTable, type ProcessChunks } from './page-table.ts';
import type { Round } from './rounds.ts';
import { Scanner, type PackSource } from './scanner.ts';

/** Bounds the agent's memory: this many packs are being filled or stored at a time. */
const packsInMemory = 12;
const parallelPuts = 6;

/** A process whose memory is known. */
export interface KnownProcess {
  readonly pid: number;
  readonly startTime: string;
  readonly chunks: ProcessChunks;
}

/** What of an upload belongs to where its packs go. */
export type UploadPlace = Pick<PackUploadOptions, 'store' | 'keyPrefix' | 'sealing' | 'signal' | 'fail' | 'compresses'>;

/** The packs that one order stores. Indices are the upload's; numbers are the session's and stay. */
export interface SessionUpload {
  readonly upload: PackUpload;
  numberOf(index: number): number;
  /** Memory for the changed pages of one thread, packs of at most `limitBytes`. */
  newSource(limitBytes: number): PackSource;
  /** Waits until everything handed over is durable. @throws the signal's reason when something failed */
  settle(): Promise<void>;
}

/**
 * What is known of an application's memory from the first look at it until its checkpoint is complete: of each page where its content
 * is stored. It is worth keeping only while everything it was told to store was stored: after a failure close it.
 */
export class MemorySession {
  readonly table: PageTable;
  readonly scanner: Scanner;
  readonly hot = new HotPages();
  readonly pool = new BufferPool(packsInMemory, packBytes);
  readonly #frames = new FrameThreads();
  readonly #processes = new Map<number, KnownProcess>();
  /** Those of the baseline come first. */
  readonly #packs: (Pack | undefined)[];
  readonly #rounds: Round[] = [];
  #passes = 0;
  #presentBytes: number | undefined;

  /**
   * @param rootPid of the application's tree
   * @param tracking without it every pass goes through everything
   * @param baseline what is stored of this tree already
   */
  constructor(
    readonly rootPid: number,
    readonly tracking?: WriteTracking,
    readonly baseline?: Baseline,
  ) {
    this.table = new PageTable(baseline?.seed);
    this.scanner = new Scanner(this.table);
    this.#packs = [...(baseline?.packs ?? [])];
  }

  /** Starts the threads and touches the buffers, so that nothing of it falls into a freeze. */
  async ready(): Promise<void> {
    this.pool.warm();
    await Promise.all([this.scanner.ready(), this.tracking?.ready()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.scanner.close(), this.#frames.close(), this.tracking?.close()]);
  }

  get processes(): Iterable<KnownProcess> {
    return this.#processes.values();
  }

  /** Each time that memory was gone through while the application ran. */
  get rounds(): readonly Round[] {
    return this.#rounds;
  }

  /** Pages that were there in the last round; undefined before the first. */
  get presentBytes(): number | undefined {
    return this.#presentBytes;
  }

  addRound(round: Round, presentBytes: number): void {
    this.#rounds.push(round);
    this.#presentBytes = presentBytes;
  }

  nextPass(): number {
    this.#passes += 1;
    return this.#passes;
  }

  /** Packs that are durable, by number. */
  get packs(): readonly (Pack | undefined)[] {
    return this.#packs;
  }

  startUpload(place: UploadPlace): SessionUpload {
    const { pool } = this;
    const upload = new PackUpload({ ...place, pool, frames: this.#frames, parallel: parallelPuts });
    const numbers: number[] = [];
    const numberOf = (index: number): number => {
      const known = numbers[index];
      if (known !== undefined) return known;
      if (this.#packs.length >= maxPacks) throw new PodferryError('INTERNAL', `${maxPacks} packs are in use`);
      numbers[index] = this.#packs.length;
      this.#packs.push(undefined);
      return numbers[index];
    };
    return {
      upload,
      numberOf,
      newSource: (limitBytes) => new ThreadPacks(upload, numberOf, limitBytes),
      settle: async () => {
        for (const [index, pack] of (await upload.finish()).entries()) this.#packs[numberOf(index)] = pack;
      },
    };
  }

  /** Looks which processes there are: forgets those that ended, and begins new ones with what their parents had. */
  lookAtTree(): readonly KnownProcess[] {
    const { processes } = applicationTree(this.rootPid);
    const alive = processes.filter(({ state }) => state !== 'Z' && state !== 'X');
    const startTimes = new Map(alive.map(({ pid, startTime }) => [pid, startTime]));
    for (const [pid, { startTime, chunks }] of this.#processes) {
      if (startTimes.get(pid) === startTime) continue;
      this.table.release(chunks.slots.values());
      this.#processes.delete(pid);
    }
    return alive.map((process) => this.#processes.get(process.pid) ?? this.#meet(process));
  }

  /** Forgets the chunks of a process that a pass did not come across. */
  forgetBefore(chunks: ProcessChunks, pass: number): void {
    for (const [chunk, seenIn] of chunks.passes) {
      if (seenIn >= pass) continue;
      const slot = chunks.slots.get(chunk);
      if (slot !== undefined) this.table.release([slot]);
      chunks.slots.delete(chunk);
      chunks.passes.delete(chunk);
    }
  }

  #meet({ pid, startTime, parentPid }: Process): KnownProcess {
    const chunks = this.#before(pid, parentPid);
    const known = { pid, startTime, chunks };
    this.#processes.set(pid, known);
    return known;
  }

  /** What a new process may hold: what the baseline has under its number, or else what its parent has. */
  #before(pid: number, parentPid: number): ProcessChunks {
    const parent = this.#processes.get(parentPid);
    if (this.baseline?.processes.has(pid) !== true) {
      return parent === undefined ? noChunks() : this.table.clone(parent.chunks);
    }
    const chunks = noChunks();
    enterBaseline(this.table, chunks, this.baseline, pid);
    return chunks;
  }
}

/** The private memory of a process now; undefined when it has ended. */
export function readAddressSpace(pid: number): AddressSpace | undefined {
  try {
    return parseAddressSpace(readFileSync(`/proc/${pid}/maps`, 'latin1'));
  } catch (error) {
    if (hasVanished(error)) return undefined;
    throw error;
  }
}

class ThreadPacks implements PackSource {
  readonly #upload: PackUpload;
  readonly #writer: PackWriter;
  readonly #numberOf: (index: number) => number;
  readonly #limitBytes: number;

  constructor(upload: PackUpload, numberOf: (index: number) => number, limitBytes: number) {
    this.#upload = upload;
    this.#writer = new PackWriter(upload);
    this.#numberOf = numberOf;
    this.#limitBytes = limitBytes;
  }

  async next(filledBytes: number): Promise<{ pack: number; memory: Uint8Array }> {
    this.end(filledBytes);
    let room = this.#writer.room();
    while (room === undefined) {
      await this.#upload.free();
      // Another thread may have been quicker.
      await turn();
      room = this.#writer.room();
    }
    return { pack: this.#numberOf(this.#writer.advance(0).pack), memory: room.subarray(0, this.#limitBytes) };
  }

  end(filledBytes: number): void {
    if (filledBytes === 0) return;
    this.#writer.advance(filledBytes);
    this.#writer.seal();
  }
}
