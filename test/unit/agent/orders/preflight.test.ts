import { expect } from 'chai';
import { refusals } from '../../../../agent/orders/preflight.ts';

const cases: readonly { name: string; links: readonly string[]; codes: readonly string[] }[] = [
  {
    name: 'pipes, sockets, files, epoll',
    links: ['pipe:[1]', 'socket:[2]', '/data/log', 'anon_inode:[eventpoll]', '/dev/null'],
    codes: [],
  },
  { name: 'io_uring', links: ['anon_inode:[io_uring]'], codes: ['IO_URING_IN_USE'] },
  { name: 'a terminal', links: ['/dev/pts/0'], codes: ['TERMINAL_IN_USE'] },
  {
    name: 'System V shared memory',
    links: ['/SYSV0052e2c1 (deleted)', '/dev/zero (deleted)', '/srv/SYSV00000000'],
    codes: ['SYSV_MEMORY_IN_USE'],
  },
  { name: 'a GPU, named once', links: ['/dev/nvidia0', '/dev/nvidiactl'], codes: ['GPU_IN_USE'] },
  { name: 'a file that only looks like one', links: ['/data/dev/pts/0', '/srv/anon_inode:[io_uring]'], codes: [] },
];

describe('agent/orders/preflight', () => {
  for (const c of cases) it(c.name, () => expect(refusals(c.links)).to.deep.equal(c.codes));
});
