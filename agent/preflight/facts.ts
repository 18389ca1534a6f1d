import type { Mount } from '../launch/mounts.ts';

/** A file that a process has open, or mapped into its memory. */
export interface HeldFile {
  readonly pid: number;
  /** Where the process holds it: `fd 7`, or `mapped`. */
  readonly where: string;
  /** What the kernel calls it: a path, `socket:[4711]`, `anon_inode:[eventpoll]`. */
  readonly link: string;
  /** What it is; undefined when that was not looked at. */
  readonly is?: FileKind | undefined;
  /** Number of the mount it was opened through; undefined for what is only mapped. */
  readonly mountId?: number | undefined;
  /** Content of /proc/PID/fdinfo/FD, of kinds that tell more there. */
  readonly info?: string | undefined;
}

export interface FileKind {
  readonly type: 'file' | 'directory' | 'character device' | 'block device' | 'other';
  /** Of a device. */
  readonly major: number;
  readonly minor: number;
  /** Names that it still has. */
  readonly names: number;
  /** On its file system. */
  readonly bytes: number;
  /** The name by which it was opened is gone, or names something else. */
  readonly hasLostName: boolean;
  /** Its pages are huge ones. */
  readonly isHuge: boolean;
}

export interface ProcessFacts {
  readonly pid: number;
  readonly name: string;
  readonly files: readonly HeldFile[];
  /** The process that traces one of its threads; 0: none. */
  readonly tracer: number;
  /** A thread of it is in the kernel and cannot be stopped, for longer than a wait for a disk takes. */
  readonly isStuck: boolean;
  /** Kind -> `mnt:[4026531841]`. */
  readonly namespaces: Readonly<Record<string, string>>;
}

export interface SocketFacts {
  /** Kernel's name of the protocol: `TCP`, `MPTCP`, `UNIX-STREAM`. */
  readonly kind: string;
  readonly pid: number;
  readonly fd: number;
  readonly inode: number;
}

/** What the checks look at, gathered once. */
export interface Facts {
  /** Of the agent's own CRIU; empty when it cannot be used. */
  readonly criu: string;
  /** What of the kernel CRIU cannot do without, and is not there: names of kernel options. */
  readonly kernelLacks: readonly string[];
  /** The application's root first. */
  readonly processes: readonly ProcessFacts[];
  readonly sockets: readonly SocketFacts[];
  /** UNIX socket -> the one at its other end, by inode; of the whole network namespace. */
  readonly peers: ReadonlyMap<number, number>;
  /** As the application's root process sees them. */
  readonly mounts: readonly Mount[];
  /** Of the container's first process, which is what CRIU runs in. */
  readonly containerNamespaces: Readonly<Record<string, string>>;
}
