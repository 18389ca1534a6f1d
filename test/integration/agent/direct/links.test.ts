import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import type tls from 'node:tls';
import { expect } from 'chai';
import type { DirectLinks } from '../../../../agent/direct/links.ts';
import { frameHead } from '../../../../agent/direct/frames.ts';
import { pskConnect, pskServer } from '../../../../agent/direct/psk.ts';
import { createLinks, type LinkOptions } from '../../../../agent/direct/tls-links.ts';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import type { Store } from '../../../../agent/store/store.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const host = '127.0.0.1';
const packBytes = 8 * 1024 * 1024;
const { signal } = new AbortController();

async function put(store: Store, key: string, body: Uint8Array): Promise<void> {
  await store.put(key, body, { sha256: sha256Hex(body), signal });
}

async function read(store: Store, key: string, bytes: number): Promise<Buffer> {
  const target = Buffer.alloc(bytes);
  await store.read(key, target, bytes, signal);
  return target;
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  const error: unknown = await run.catch((thrown: unknown) => thrown);
  return error instanceof PodferryError ? error.code : `no error but ${String(error)}`;
}

/** As long as the test may take: the machine may be busy. */
async function arrived(target: DirectLinks, bytes: number): Promise<void> {
  while (target.bytes !== bytes) await setImmediate();
}

describe('agent/direct over loopback', function () {
  this.timeout(30_000);
  const secret = randomBytes(32);
  const opened: { close(): void }[] = [];

  afterEach(() => {
    for (const each of opened.splice(0)) each.close();
  });

  function links(options: Partial<LinkOptions> = {}): DirectLinks {
    const made = createLinks({ log: silentLog(), ...options });
    opened.push(made);
    return made;
  }

  /** A target that does what the test wants with the connection. */
  async function oddTarget(onSource: (socket: tls.TLSSocket) => void): Promise<number> {
    const server = pskServer(secret);
    const sockets: tls.TLSSocket[] = [];
    server.on('secureConnection', (socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      onSource(socket);
    });
    server.listen(0, host);
    await once(server, 'listening');
    opened.push({
      close() {
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    });
    return (server.address() as AddressInfo).port;
  }

  it('brings 200 MiB to the target, which needs no store to read them', async () => {
    const [source, target] = [links({ patienceMs: 20_000 }), links({ maxBytes: 512 * 1024 * 1024 })];
    await source.connect(host, await target.listen(secret), secret);
    const durable = new MemoryStore();
    const writer = source.over(durable);
    const bodies = Array.from({ length: 25 }, () => randomBytes(packBytes));
    const began = performance.now();
    await Promise.all(bodies.map(async (body, i) => put(writer, `packs/${i}`, body)));
    await writer.putOnce('manifest', Buffer.from('all'), { sha256: sha256Hex(Buffer.from('all')), signal });
    await arrived(target, 25 * packBytes + 3);
    console.log(
      `      200 MiB in ${Math.round(performance.now() - began)} ms, both ends and the store's digests in one process`,
    );
    expect(source.bytes).to.equal(target.bytes);
    expect(durable.objects.size).to.equal(26);

    const reader = target.over(new MemoryStore());
    for (const [i, body] of bodies.entries()) {
      expect(Buffer.compare(await read(reader, `packs/${i}`, packBytes), body), `pack ${i}`).to.equal(0);
    }
    expect(Buffer.from(await reader.get('manifest', 100, signal)).toString()).to.equal('all');
  });

  it('sends bytes that lie in shared memory', async () => {
    const [source, target] = [links(), links()];
    await source.connect(host, await target.listen(secret), secret);
    const body = Buffer.from(new SharedArrayBuffer(1_000_000));
    randomBytes(body.byteLength).copy(body);
    const durable = new MemoryStore();
    await put(source.over(durable), 'k', body);
    await arrived(target, body.byteLength);
    expect(Buffer.compare(await read(target.over(new MemoryStore()), 'k', body.byteLength), body)).to.equal(0);
  });

  it('answers for parts of what came, and leaves lists and removals to the store', async () => {
    const [source, target] = [links(), links()];
    await source.connect(host, await target.listen(secret), secret);
    await put(source.over(new MemoryStore()), 'k', Buffer.from('abcdef'));
    await arrived(target, 6);
    const durable = new MemoryStore();
    await put(durable, 'stored', Buffer.from('abcdef'));
    const reader = target.over(durable);
    for (const key of ['k', 'stored']) {
      const part = Buffer.alloc(3);
      await reader.readRange(key, 2, part, 3, signal);
      expect(part.toString(), key).to.equal('cde');
    }
    expect(await codeOf(reader.readRange('k', 4, Buffer.alloc(3), 3, signal))).to.equal('OBJECT_MISSING');
    const listed: string[] = [];
    for await (const { key } of reader.list('', signal)) listed.push(key);
    expect(listed).to.deep.equal(['stored']);
    await reader.delete(['stored'], signal);
    expect(durable.objects.size).to.equal(0);
  });

  it('asks the store for what did not come, and for what has another size than expected', async () => {
    const target = links();
    await target.listen(secret);
    const durable = new MemoryStore();
    await put(durable, 'k', Buffer.from('stored'));
    const reader = target.over(durable);
    expect((await read(reader, 'k', 6)).toString()).to.equal('stored');
    expect(await codeOf(read(reader, 'k', 5))).to.equal('OBJECT_CORRUPT');
    expect(await codeOf(reader.get('none', 10, signal))).to.equal('OBJECT_MISSING');
  });

  it('reads ahead what the source only stores, until the restore reads', async () => {
    const target = links({ fillEveryMs: 1 });
    const durable = new MemoryStore();
    const reads: string[] = [];
    const counted: Store = {
      put: async (...given) => durable.put(...given),
      putOnce: async (...given) => durable.putOnce(...given),
      get: async (...given) => durable.get(...given),
      readRange: async (...given) => durable.readRange(...given),
      list: (...given) => durable.list(...given),
      delete: async (...given) => durable.delete(...given),
      read: async (...given) => {
        await durable.read(...given);
        reads.push(given[0]);
      },
    };
    const reader = target.over(counted);
    await target.warm('packs/');
    await put(durable, 'packs/a', Buffer.from('abc'));
    while (reads.length === 0) await setImmediate();
    await setImmediate();
    expect((await read(reader, 'packs/a', 3)).toString()).to.equal('abc');
    await put(durable, 'packs/b', Buffer.from('abc'));
    await read(reader, 'packs/b', 3);
    expect(reads).to.deep.equal(['packs/a', 'packs/b']);
  });

  it('reads nothing ahead any more once the source freezes', async () => {
    const [source, target] = [links(), links({ fillEveryMs: 1 })];
    const durable = new MemoryStore();
    const reader = target.over(durable);
    const port = await target.listen(secret);
    await source.connect(host, port, secret);
    await target.warm('packs/');
    await source.connect(host, port, secret, { isFreezing: true });
    await put(source.over(new MemoryStore()), 'packs/last', Buffer.from('sent'));
    await arrived(target, 4);
    await put(durable, 'packs/a', Buffer.from('abc'));
    await delay(50);
    expect(reader.held?.('packs/a')).to.equal(undefined);
    expect(reader.held?.('packs/last')?.toString()).to.equal('sent');
  });

  it('has ahead what is named to it, and then needs the store no more', async () => {
    const target = links({ maxBytes: 100 });
    const durable = new MemoryStore();
    for (const key of ['packs/a', 'packs/b']) await put(durable, key, Buffer.from('abc'));
    const reader = target.over(durable);
    await target.warm('packs/', async (store) => {
      expect(store).to.equal(durable);
      return [{ key: 'packs/b', bytes: 3 }];
    });
    while (reader.held?.('packs/b') === undefined) {
      await target.warm('packs/', async () => [{ key: 'packs/b', bytes: 3 }]); // a look at what is held ends the last one
      await delay(10);
    }
    durable.objects.clear();
    expect((await read(reader, 'packs/b', 3)).toString()).to.equal('abc');
    expect(await codeOf(read(reader, 'packs/a', 3))).to.equal('OBJECT_MISSING');
  });

  it('keeps its port for the same secret, and listens anew for another', async () => {
    const target = links();
    const port = await target.listen(secret);
    expect(await target.listen(secret)).to.equal(port);
    expect(target.port).to.equal(port);
    await target.listen(randomBytes(32));
    expect(await codeOf(links().connect(host, port, secret))).to.equal('DIRECT_FAILED');
  });

  for (const wrong of [randomBytes(32), randomBytes(16), Buffer.alloc(0)]) {
    it(`refuses a source with another secret of ${wrong.byteLength} bytes`, async () => {
      const [source, target] = [links(), links()];
      const port = await target.listen(secret);
      expect(await codeOf(source.connect(host, port, wrong))).to.equal('DIRECT_FAILED');
      expect(target.bytes).to.equal(0);
    });
  }

  it('refuses a target with another secret', async () => {
    const target = links();
    const port = await target.listen(randomBytes(32));
    expect(await codeOf(links().connect(host, port, secret))).to.equal('DIRECT_FAILED');
  });

  it('reads nothing from whoever does not speak TLS', async () => {
    const target = links();
    const socket = net.connect(await target.listen(secret), host);
    socket.on('error', () => undefined);
    socket.write(Buffer.concat([frameHead('k', 3), Buffer.from('abc')]));
    await once(socket, 'close');
    expect(target.bytes).to.equal(0);
  });

  it('gives up on a target that does not answer', async () => {
    const silent = net.createServer().listen(0, host);
    await once(silent, 'listening');
    opened.push(silent);
    const { port } = silent.address() as AddressInfo;
    expect(await codeOf(links({ connectMs: 50 }).connect(host, port, secret))).to.equal('DIRECT_FAILED');
  });

  it('stores on when the connection breaks in the middle, and the target asks the store', async () => {
    const [source, target] = [links(), links()];
    const port = await target.listen(secret);
    const proxy = net.createServer((from) => {
      const to = net.connect(port, host);
      let bytes = 0;
      from.on('error', () => undefined);
      to.on('error', () => undefined);
      to.pipe(from);
      from.on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength;
        if (bytes < packBytes / 2) to.write(chunk);
        else {
          to.destroy();
          from.destroy();
        }
      });
    });
    proxy.listen(0, host);
    await once(proxy, 'listening');
    opened.push(proxy);
    await source.connect(host, (proxy.address() as AddressInfo).port, secret);
    const durable = new MemoryStore();
    const bodies = [randomBytes(packBytes), randomBytes(packBytes)];
    const writer = source.over(durable);
    for (const [i, body] of bodies.entries()) await put(writer, `packs/${i}`, body);
    expect(source.bytes).to.equal(0);
    const reader = target.over(durable);
    for (const [i, body] of bodies.entries()) {
      expect(Buffer.compare(await read(reader, `packs/${i}`, packBytes), body)).to.equal(0);
    }
  });

  it('stores on when the target is gone, and can connect to it again', async () => {
    const [source, target] = [links(), links()];
    await source.connect(host, await target.listen(secret), secret);
    const durable = new MemoryStore();
    const writer = source.over(durable);
    target.close();
    await put(writer, 'a', Buffer.from('a'));
    await put(writer, 'b', randomBytes(packBytes));
    expect([...durable.objects.keys()]).to.deep.equal(['a', 'b']);

    await source.connect(host, await target.listen(secret), secret);
    const before = target.bytes;
    await put(writer, 'c', Buffer.from('c'));
    await arrived(target, before + 1);
  });

  it('does not wait for a target that takes nothing', async () => {
    const port = await oddTarget((socket) => socket.pause());
    const source = links({ patienceMs: 5, graceMs: 20 });
    await source.connect(host, port, secret);
    const durable = new MemoryStore();
    const writer = source.over(durable);
    await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (key) => put(writer, key, Buffer.concat([randomBytes(packBytes)]))),
    );
    expect(durable.objects.size).to.equal(4);
  });

  it('gives up objects rather than the connection when the target is only slow', async () => {
    const got: Buffer[] = [];
    const port = await oddTarget((socket) => {
      socket.on('data', (chunk: Buffer) => {
        got.push(chunk);
        socket.pause();
        setTimeout(() => socket.resume(), 1);
      });
    });
    const source = links({ patienceMs: 0, graceMs: 20_000 });
    await source.connect(host, port, secret);
    const writer = source.over(new MemoryStore());
    await Promise.all(['a', 'b', 'c'].map(async (key) => put(writer, key, randomBytes(packBytes))));
    await put(writer, 'last', Buffer.from('last'));
    expect(source.bytes).to.be.greaterThan(packBytes);
    expect(source.bytes).to.be.lessThan(3 * packBytes);
  });

  it("passes the store's own errors on", async () => {
    const [source, target] = [links(), links()];
    await source.connect(host, await target.listen(secret), secret);
    const durable = new MemoryStore();
    durable.refusesPutsFrom = 0;
    expect(await codeOf(put(source.over(durable), 'a', Buffer.from('a')))).to.equal('STORE_WRITE_FAILED');
  });

  it('hears the newest source, and none that talks nonsense or falls silent', async () => {
    const target = links({ idleMs: 20 });
    const port = await target.listen(secret);
    const first = await pskConnect(host, port, secret, 1_000);
    const second = await pskConnect(host, port, secret, 1_000);
    await once(first, 'close');
    second.write(Buffer.alloc(100));
    await once(second, 'close');
    const third = await pskConnect(host, port, secret, 1_000);
    third.write(Buffer.concat([frameHead('k', 10), Buffer.from('abc')]));
    await once(third, 'close');
    expect(target.bytes).to.equal(0);
  });

  it('forgets everything when it is closed', async () => {
    const [source, target] = [links(), links()];
    await source.connect(host, await target.listen(secret), secret);
    await put(source.over(new MemoryStore()), 'k', Buffer.from('abc'));
    await arrived(target, 3);
    const reader = target.over(new MemoryStore());
    target.close();
    expect(target.port).to.equal(0);
    expect(target.bytes).to.equal(0);
    expect(await codeOf(reader.get('k', 10, signal))).to.equal('OBJECT_MISSING');
  });
});
