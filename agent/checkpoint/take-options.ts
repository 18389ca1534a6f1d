import type { Readable } from 'node:stream';
import type { Criu } from '../criu/command.ts';
import type { RoundLimits } from '../memory/rounds.ts';
import type { MemorySession, SessionUpload } from '../memory/session.ts';
import type { HostFacts, HotImage, PageImage, StoredImage } from '../store/manifest.ts';
import type { LogFile } from '../store/logs.ts';
import type { PackWriter } from '../store/pack-writer.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';
import type { Stopwatch } from './stopwatch.ts';

/** The changed files of the container, read after its processes were stopped. */
export interface CapturedFiles {
  /** A tar; it errors before its end when anything could not be read. */
  readonly archive: Readable;
  readonly deleted: readonly string[];
}

export interface TakeOptions {
  readonly criu: Criu;
  readonly store: Store;
  /** Of the instance, ending in a slash. */
  readonly keyPrefix: string;
  readonly id: string;
  readonly sealing: Sealing;
  readonly generation: number;
  readonly facts: HostFacts;
  readonly rootPid: number;
  /** The container's first process, whose input, output and error are the container runtime's. */
  readonly stdioPid: number;
  /** Pids of the tree that are stopped already, and stay so after the restore. */
  readonly stoppedBefore: readonly number[];
  /** On tmpfs, for this checkpoint alone: made, and removed at the end. */
  readonly workDir: string;
  /** What is known of the memory already. When the checkpoint fails it is useless, and the caller closes it in any case. */
  readonly memory?: MemorySession;
  /** How the memory is copied before the freeze; by default in a few rounds. */
  readonly rounds?: RoundLimits;
  /** Called once, when every process is stopped, while their pages are still moving. */
  readonly files?: (signal: AbortSignal) => Promise<CapturedFiles | undefined>;
  /** From now. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly onStopped?: () => void;
  /** Our program as the agent sees it. */
  readonly binary?: string;
  /** Called once, when nothing of the tree is left to read: whoever wants to may continue it. The checkpoint is not complete yet. */
  readonly onCaptured?: () => void;
  /** Default: what is worth it is compressed. */
  readonly compresses?: boolean;
  /** Gets CRIU's logs at the end, whatever that is. */
  readonly onLogs?: (logs: readonly LogFile[]) => void;
}

/** What the parts of a checkpoint work with. */
export interface TakeContext {
  readonly options: TakeOptions;
  readonly session: MemorySession;
  readonly stored: SessionUpload;
  /** For what a restore needs before it can start, so that this is together in few packs. */
  readonly local: PackWriter;
  readonly watch: Stopwatch;
  /** To be called once, when every process is stopped. */
  readonly onStopped: () => void;
}

/** The stopped tree: packs are named by their indices in the upload (images) and by their numbers in the session (pages). */
export interface FrozenTree {
  readonly pages: readonly PageImage[];
  readonly images: readonly StoredImage[];
  readonly hot?: readonly HotImage[];
  /** Of memory, pages of zeroes included. */
  readonly pageBytes: number;
  /** performance.now() at the first stopped process. */
  readonly stoppedAt: number;
}
