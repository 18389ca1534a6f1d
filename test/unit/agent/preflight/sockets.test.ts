import { expect } from 'chai';
import { parseSockets } from '../../../../agent/preflight/sockets.ts';

describe('agent/preflight/sockets', () => {
  it('reads sockets and pairs, and passes over everything else', () => {
    const text = 'socket 10 4 4711 UNIX-STREAM\npeer 4711 4712\nsocket 10 x 1 TCP\npeer 1\n\n';
    expect(parseSockets(text)).to.deep.equal({
      sockets: [{ pid: 10, fd: 4, inode: 4711, kind: 'UNIX-STREAM' }],
      peers: new Map([[4711, 4712]]),
    });
  });
});
