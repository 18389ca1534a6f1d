import { expect } from 'chai';
import { findingsIn } from '../../../../agent/preflight/checks.ts';
import type { Facts, FileKind, HeldFile, ProcessFacts } from '../../../../agent/preflight/facts.ts';
import type { Mount } from '../../../../agent/launch/mounts.ts';
import type { ErrorCode } from '../../../../proto/errors.ts';

const mib = 1024 * 1024;
const mount = (id: number, device: string, fsType: string): Mount => {
  return { id, device, fsType, root: '/', point: `/${id}`, superOptions: [] };
};
const time = { time: 'time:[4]', time_for_children: 'time:[4]' };
const namespaces = { mnt: 'mnt:[1]', pid: 'pid:[2]', cgroup: 'cgroup:[3]', ...time };
const root: ProcessFacts = { pid: 10, name: 'app', files: [], tracer: 0, isStuck: false, namespaces };
const clean: Facts = {
  criu: '4.2.1',
  kernelLacks: [],
  processes: [root],
  sockets: [],
  peers: new Map(),
  mounts: [mount(1, '0:30', 'overlay'), mount(2, '8:1', 'ext4')],
  containerNamespaces: namespaces,
};

const ordinary: FileKind = {
  type: 'file',
  major: 0,
  minor: 0,
  names: 1,
  bytes: 0,
  hasLostName: false,
  isHuge: false,
};
const held = (link: string, change: Partial<HeldFile> = {}): HeldFile => ({
  pid: 10,
  where: 'fd 3',
  link,
  mountId: 1,
  ...change,
});
const file = (link: string, is: Partial<FileKind> = {}, change: Partial<HeldFile> = {}): HeldFile =>
  held(link, { ...change, is: { ...ordinary, ...is } });
const device = (link: string, major: number, minor = 0): HeldFile =>
  file(link, { type: 'character device', major, minor });
const having = (...files: readonly HeldFile[]): Partial<Facts> => ({ processes: [{ ...root, files }] });
const socket = (kind: string, inode = 7): Partial<Facts> => ({ sockets: [{ pid: 10, fd: 4, kind, inode }] });
const process = (change: Partial<ProcessFacts>): Partial<Facts> => ({
  processes: [root, { ...root, pid: 11, ...change }],
});
const watch = (sdev: string): HeldFile =>
  held('anon_inode:inotify', { info: `pos:\t0\nmnt_id:\t15\ninotify wd:1 ino:2 sdev:${sdev} mask:2 ignored_mask:0\n` });
const pidfd = (pid: number): HeldFile =>
  held('anon_inode:[pidfd]', { info: `pos:\t0\nPid:\t${pid}\nNSpid:\t${pid}\n` });

const cases: readonly { name: string; facts: Partial<Facts>; codes: readonly ErrorCode[] }[] = [
  {
    name: 'pipes, sockets, files, epoll, devices of memory',
    facts: having(
      held('pipe:[1]'),
      held('socket:[2]'),
      file('/data/log'),
      held('anon_inode:[eventpoll]'),
      device('/dev/null', 1, 3),
    ),
    codes: [],
  },
  { name: 'no CRIU', facts: { criu: '' }, codes: ['CRIU_UNSUPPORTED'] },
  { name: 'a kernel without', facts: { kernelLacks: ['CONFIG_PROC_CHILDREN'] }, codes: ['KERNEL_UNSUPPORTED'] },
  { name: 'io_uring', facts: having(held('anon_inode:[io_uring]')), codes: ['IO_URING_IN_USE'] },
  { name: 'a terminal', facts: having(device('/dev/pts/0', 136)), codes: ['TERMINAL_IN_USE'] },
  {
    name: 'a GPU',
    facts: having(device('/dev/nvidia0', 195), device('/dev/nvidiactl', 195, 255)),
    codes: ['GPU_IN_USE'],
  },
  { name: 'another device', facts: having(device('/dev/fuse', 10, 229)), codes: ['DEVICE_IN_USE'] },
  { name: 'a disk', facts: having(file('/dev/sda', { type: 'block device', major: 8 })), codes: ['DEVICE_IN_USE'] },
  {
    name: 'System V shared memory',
    facts: having(held('/SYSV0052e2c1 (deleted)', { where: 'mapped' })),
    codes: ['SYSV_MEMORY_IN_USE'],
  },
  {
    name: 'secret memory',
    facts: having(held('/secretmem (deleted)', { where: 'mapped' })),
    codes: ['MEMFD_SECRET_IN_USE'],
  },
  {
    name: 'huge pages',
    facts: having(file('/anon_hugepage (deleted)', { isHuge: true })),
    codes: ['HUGE_PAGES_IN_USE'],
  },
  {
    name: 'an unknown kind of anonymous file',
    facts: having(held('anon_inode:[kvm-vm]')),
    codes: ['FILE_KIND_UNSUPPORTED'],
  },
  {
    name: 'files that only look like these',
    facts: having(file('/data/dev/pts/0'), file('/srv/anon_inode:[io_uring]'), file('/srv/SYSV00000000')),
    codes: [],
  },
  ...[
    'TCP',
    'TCPv6',
    'UDP',
    'UDPv6',
    'UDP-Lite',
    'UDPLITEv6',
    'RAW',
    'RAWv6',
    'PING',
    'PINGv6',
    'UNIX',
    'UNIX-STREAM',
    'PACKET',
    'NETLINK',
  ].map((kind) => ({ name: `a socket: ${kind}`, facts: socket(kind), codes: [] })),
  { name: 'MPTCP', facts: socket('MPTCPv6'), codes: ['MPTCP_IN_USE'] },
  { name: 'a socket between machines', facts: socket('AF_VSOCK'), codes: ['SOCKET_KIND_UNSUPPORTED'] },
  {
    name: 'a peer inside',
    facts: {
      sockets: [7, 8].map((inode) => ({ pid: 10, fd: inode, kind: 'UNIX', inode })),
      peers: new Map([
        [7, 8],
        [8, 7],
      ]),
    },
    codes: [],
  },
  {
    name: 'a peer outside',
    facts: { ...socket('UNIX-STREAM'), peers: new Map([[7, 99]]) },
    codes: ['UNIX_PEER_OUTSIDE'],
  },
  { name: 'a peer that is gone', facts: { ...socket('UNIX-STREAM'), peers: new Map([[99, 98]]) }, codes: [] },
  { name: 'a watch on overlayfs', facts: having(watch('1e')), codes: ['INOTIFY_ON_OVERLAY'] },
  { name: 'a watch on a volume', facts: having(watch('800001')), codes: [] },
  {
    name: 'a file of a mount that is gone',
    facts: having(file('/gone', {}, { mountId: 9 })),
    codes: ['FILE_OUTSIDE_MOUNTS'],
  },
  { name: 'memory of memfd_create', facts: having(file('/memfd:x (deleted)', {}, { mountId: 9 })), codes: [] },
  {
    name: 'a small deleted file',
    facts: having(file('/a (deleted)', { names: 0, bytes: 64 * mib, hasLostName: true })),
    codes: [],
  },
  {
    name: 'a large deleted file',
    facts: having(file('/a (deleted)', { names: 0, bytes: 64 * mib + 512 })),
    codes: ['DELETED_FILE_LARGE'],
  },
  {
    name: 'a file under another name',
    facts: having(file('/a (deleted)', { hasLostName: true })),
    codes: ['FILE_NAME_LOST'],
  },
  { name: 'a tracer', facts: process({ tracer: 500 }), codes: ['PROCESS_TRACED'] },
  { name: 'a process in the kernel', facts: process({ isStuck: true }), codes: ['PROCESS_UNFREEZABLE'] },
  { name: 'handles of its own and of ended processes', facts: having(pidfd(10), pidfd(-1)), codes: [] },
  { name: 'a handle of another process', facts: having(pidfd(1)), codes: ['PROCESS_WATCHED'] },
  {
    name: 'a namespace',
    facts: process({ namespaces: { ...namespaces, pid: 'pid:[9]' } }),
    codes: ['NAMESPACE_NESTED'],
  },
  {
    name: "the tree's own cgroup namespace",
    facts: { containerNamespaces: { ...namespaces, cgroup: 'cgroup:[9]' } },
    codes: [],
  },
  {
    name: 'the time namespace of a tree that was moved',
    facts: { containerNamespaces: { ...namespaces, time: 'time:[9]', time_for_children: 'time:[9]' } },
    codes: [],
  },
  {
    name: 'a time namespace for children',
    facts: process({ namespaces: { ...namespaces, time_for_children: 'time:[9]' } }),
    codes: ['NAMESPACE_NESTED'],
  },
  {
    name: 'a cgroup namespace in it',
    facts: process({ namespaces: { ...namespaces, cgroup: 'cgroup:[9]' } }),
    codes: ['NAMESPACE_NESTED'],
  },
  {
    name: 'files that only the mounts of a nested namespace explain',
    facts: process({ namespaces: { ...namespaces, mnt: 'mnt:[9]' }, files: [file('/x', {}, { pid: 11, mountId: 9 })] }),
    codes: ['NAMESPACE_NESTED'],
  },
];

describe('agent/preflight/checks', () => {
  for (const { name, facts, codes } of cases) {
    it(name, () => expect(findingsIn({ ...clean, ...facts }).map(({ code }) => code)).to.deep.equal(codes));
  }

  it('names the process, three of many, and each once', () => {
    const rings = [3, 3, 4, 5, 6].map((fd) => held('anon_inode:[io_uring]', { where: `fd ${fd}` }));
    const one = (fd: number): string => `process 10 (app) has anon_inode:[io_uring] (fd ${fd})`;
    expect(findingsIn({ ...clean, ...having(...rings) })).to.deep.equal([
      { code: 'IO_URING_IN_USE', message: `${one(3)}, ${one(4)}, ${one(5)}, and 1 more` },
    ]);
  });
});
