import type { ErrorCode } from '../../proto/errors.ts';
import { ghostLimitBytes } from '../criu/dump.ts';
import type { Facts, HeldFile, SocketFacts } from './facts.ts';

/** One reason why the application cannot be moved as it is now; what to do about it is the hint of its code. */
export interface Finding {
  readonly code: ErrorCode;
  readonly message: string;
}

interface Check {
  readonly code: ErrorCode;
  /** Everything that is in the way, each in a few words; nothing: all is well. */
  readonly look: (facts: Facts) => readonly string[];
}

/** So many are named; of the rest only how many there are. */
const named = 3;

/** The anonymous files that CRIU 4.2 can dump. */
const dumpable = /^anon_inode:(?:inotify|bpf-map|\[(?:eventfd|eventpoll|fanotify|signalfd|timerfd|pidfd)\])/;

const gpu = /^\/dev\/(?:nvidia|dri\/|kfd|accel\/|dxg)/;
const terminal = /^\/dev\/(?:pts\/\d+|console|tty\w*)$/;
const memoryDevices = 1;

/** Kernel's names of the protocols whose sockets CRIU dumps. */
const dumpableSockets = /^(?:(?:TCP|UDP|RAW|PING)(?:v6)?|UDP-Lite|UDPLITEv6|UNIX(?:-STREAM)?|PACKET|NETLINK)$/;

const everyFile = ({ processes }: Facts): readonly HeldFile[] => processes.flatMap(({ files }) => files);
const holders = (facts: Facts, isMeant: (file: HeldFile) => boolean): readonly string[] =>
  everyFile(facts)
    .filter(isMeant)
    .map((file) => `${who(facts, file.pid)} has ${file.link} (${file.where})`);
const sockets = (facts: Facts, isMeant: (socket: SocketFacts) => boolean, what: string): readonly string[] =>
  facts.sockets.filter(isMeant).map(({ pid, fd, kind }) => `${who(facts, pid)} has ${what} (${kind}, fd ${fd})`);

function who({ processes }: Facts, pid: number): string {
  return `process ${pid} (${processes.find((process) => process.pid === pid)?.name ?? 'unknown'})`;
}

const isDevice = ({ is }: HeldFile): boolean =>
  is?.type === 'block device' || (is?.type === 'character device' && is.major !== memoryDevices);

/** In the order in which they are told. */
const checks: readonly Check[] = [
  { code: 'CRIU_UNSUPPORTED', look: ({ criu }) => (criu === '' ? ["the agent's CRIU cannot be used"] : []) },
  { code: 'KERNEL_UNSUPPORTED', look: ({ kernelLacks }) => kernelLacks.map((option) => `the kernel has no ${option}`) },
  { code: 'IO_URING_IN_USE', look: (facts) => holders(facts, ({ link }) => link === 'anon_inode:[io_uring]') },
  { code: 'TERMINAL_IN_USE', look: (facts) => holders(facts, ({ link }) => terminal.test(link)) },
  { code: 'GPU_IN_USE', look: (facts) => holders(facts, ({ link }) => gpu.test(link)) },
  {
    code: 'DEVICE_IN_USE',
    look: (facts) =>
      holders(
        facts,
        (file) =>
          isDevice(file) &&
          !gpu.test(file.link) &&
          !terminal.test(file.link) &&
          !/^\/dev\/(?:pts\/)?ptmx$/.test(file.link),
      ),
  },
  { code: 'MEMFD_SECRET_IN_USE', look: (facts) => holders(facts, ({ link }) => /^\/(?:memfd_)?secret/.test(link)) },
  // It belongs to the IPC namespace, which is the pod's and not the application's to take along.
  { code: 'SYSV_MEMORY_IN_USE', look: (facts) => holders(facts, ({ link }) => /^\/SYSV[0-9a-f]{8}/.test(link)) },
  { code: 'HUGE_PAGES_IN_USE', look: (facts) => holders(facts, ({ is }) => is?.isHuge === true) },
  {
    code: 'FILE_KIND_UNSUPPORTED',
    look: (facts) =>
      holders(
        facts,
        ({ link }) => link.startsWith('anon_inode:') && link !== 'anon_inode:[io_uring]' && !dumpable.test(link),
      ),
  },
  { code: 'MPTCP_IN_USE', look: (facts) => sockets(facts, ({ kind }) => kind.startsWith('MPTCP'), 'a socket') },
  {
    code: 'SOCKET_KIND_UNSUPPORTED',
    look: (facts) =>
      sockets(facts, ({ kind }) => !kind.startsWith('MPTCP') && !dumpableSockets.test(kind), 'a socket of this kind'),
  },
  { code: 'UNIX_PEER_OUTSIDE', look: unixPeersOutside },
  { code: 'INOTIFY_ON_OVERLAY', look: watchesOnOverlay },
  { code: 'FILE_OUTSIDE_MOUNTS', look: outsideMounts },
  {
    code: 'DELETED_FILE_LARGE',
    look: (facts) => holders(facts, ({ is }) => is?.type === 'file' && is.names === 0 && is.bytes > ghostLimitBytes),
  },
  { code: 'FILE_NAME_LOST', look: (facts) => holders(facts, ({ is }) => is?.hasLostName === true && is.names > 0) },
  {
    code: 'PROCESS_TRACED',
    look: (facts) =>
      facts.processes.flatMap(({ pid, tracer }) =>
        tracer === 0 ? [] : [`${who(facts, pid)} is traced by process ${tracer}`],
      ),
  },
  {
    code: 'PROCESS_UNFREEZABLE',
    look: (facts) =>
      facts.processes.flatMap(({ pid, isStuck }) => (isStuck ? [`${who(facts, pid)} waits in the kernel`] : [])),
  },
  { code: 'PROCESS_WATCHED', look: watchedOutside },
  { code: 'NAMESPACE_NESTED', look: nestedNamespaces },
];

/** All reasons, each code once. Pure. */
export function findingsIn(facts: Facts): readonly Finding[] {
  return checks.flatMap(({ code, look }): Finding[] => {
    const found = [...new Set(look(facts))];
    if (found.length === 0) return [];
    const more = found.length > named ? `, and ${found.length - named} more` : '';
    return [{ code, message: found.slice(0, named).join(', ') + more }];
  });
}

function unixPeersOutside(facts: Facts): readonly string[] {
  const own = new Set(facts.sockets.map(({ inode }) => inode));
  const isOutside = ({ inode }: SocketFacts): boolean => {
    const peer = facts.peers.get(inode);
    return peer !== undefined && !own.has(peer);
  };
  return sockets(facts, isOutside, 'a connection to a process outside the application');
}

/** CRIU finds what is watched by its number in the file system, which overlayfs does not do. */
function watchesOnOverlay(facts: Facts): readonly string[] {
  const overlays = new Set(facts.mounts.filter(({ fsType }) => fsType === 'overlay').map(({ device }) => device));
  return holders(facts, ({ info, link }) => {
    if (!link.startsWith('anon_inode:inotify')) return false;
    return Array.from(info?.matchAll(/\bsdev:([0-9a-f]+)/g) ?? [], ([, device = '']) => deviceName(device)).some(
      (device) => overlays.has(device),
    );
  });
}

/** A device as fdinfo tells it (the kernel's own number, hexadecimal), in the way of mountinfo. */
function deviceName(hex: string): string {
  const device = Number.parseInt(hex, 16);
  return `${Math.floor(device / 2 ** 20)}:${device % 2 ** 20}`;
}

function outsideMounts(facts: Facts): readonly string[] {
  const ids = new Set(facts.mounts.map(({ id }) => id));
  const sees = new Set(
    facts.processes
      .filter(({ namespaces }) => namespaces['mnt'] === facts.processes[0]?.namespaces['mnt'])
      .map(({ pid }) => pid),
  );
  return holders(facts, ({ pid, is, mountId, link }) => {
    if (is === undefined || mountId === undefined || !sees.has(pid)) return false;
    return !ids.has(mountId) && !/^\/(?:memfd:|secretmem|anon_hugepage)/.test(link);
  });
}

/** A process that has ended (-1) is no obstacle. */
function watchedOutside(facts: Facts): readonly string[] {
  const own = new Set(facts.processes.map(({ pid }) => pid));
  return everyFile(facts).flatMap(({ pid, where, info }) => {
    const watched = Number(/^Pid:\s*(-?\d+)/m.exec(info ?? '')?.[1] ?? -1);
    if (watched === -1 || own.has(watched)) return [];
    return [`${who(facts, pid)} has a handle (${where}) of process ${watched}, which is not of the application`];
  });
}

/**
 * CRIU restores none but those of the container. After a move the whole tree has a cgroup and a time namespace of its own, which
 * keeps its clocks going on.
 */
function nestedNamespaces(facts: Facts): readonly string[] {
  const root = facts.processes[0]?.namespaces ?? {};
  const { cgroup, time } = root;
  const expected = { ...facts.containerNamespaces, cgroup, time, time_for_children: time };
  return facts.processes.flatMap(({ pid, namespaces }) => {
    const kinds = Object.entries(expected)
      .filter(([kind, around]) => around !== undefined && namespaces[kind] !== undefined && namespaces[kind] !== around)
      .map(([kind]) => kind);
    return kinds.length === 0 ? [] : [`${who(facts, pid)} has its own ${kinds.join(', ')} namespace`];
  });
}
