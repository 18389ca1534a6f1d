import { once } from 'node:events';
import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { randomNumbers, startFaultProxy, type FaultProxy, type FaultProxyOptions } from '../../fakes/fault-proxy.ts';

const bytes = 300_000;
const content = Buffer.alloc(bytes, 'what is stored');

/** Answers a GET with `content`, and anything with a body with that body. */
const echo = (): Server =>
  createServer((incoming, answer) => {
    buffer(incoming).then(
      (body) => answer.end(body.byteLength > 0 ? body : content),
      () => answer.destroy(),
    );
  });

describe('fault proxy', () => {
  let server: Server;
  let proxy: FaultProxy;
  let agent: Agent;

  const start = async (options: Omit<FaultProxyOptions, 'upstream'> = {}): Promise<void> => {
    proxy = await startFaultProxy({
      upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ...options,
    });
  };

  /** One exchange; on a break the error's code and what had come. */
  const exchange = async (
    method = 'GET',
    body?: Buffer,
    headers: Record<string, string> = {},
  ): Promise<{ readonly got: Buffer; readonly code?: string | undefined }> => {
    const parts: Buffer[] = [];
    try {
      const length = { 'content-length': body?.byteLength ?? 0 };
      const outgoing = request(`${proxy.endpoint}/bucket/key?x=1`, {
        method,
        agent,
        headers: { ...headers, ...length },
      });
      if (headers['expect'] === undefined) outgoing.end(body);
      else outgoing.on('continue', () => outgoing.end(body)).flushHeaders();
      outgoing.on('error', () => undefined); // the answer tells it, too
      const [answer] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer>];
      for await (const part of answer) parts.push(part);
    } catch (error) {
      return { got: Buffer.concat(parts), code: (error as NodeJS.ErrnoException).code };
    }
    return { got: Buffer.concat(parts) };
  };

  beforeEach(async () => {
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
    server = echo();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    agent.destroy();
    await proxy.close();
    server.closeAllConnections();
    server.close();
  });

  it('passes everything through, one request after the other on one connection', async () => {
    await start({ latencyMs: 1 });
    for (const body of [Buffer.alloc(10, 'x'), Buffer.alloc(1_000_000, 'GET / HTTP/1.1\r\n')]) {
      expect((await exchange('PUT', body)).got.equals(body)).to.equal(true);
      expect((await exchange()).got.equals(content)).to.equal(true);
    }
    expect((await exchange('PUT', content, { expect: '100-continue' })).got.equals(content)).to.equal(true);
    expect(proxy.requests).to.equal(5);
    expect(proxy.faults).to.equal(0);
  });

  it('tells the decider what is asked', async () => {
    const seen: unknown[] = [];
    await start({
      faultOf: (asked) => {
        seen.push(asked);
        return undefined;
      },
    });
    await exchange();
    await exchange('PUT', content);
    expect(seen).to.deep.equal([
      { method: 'GET', path: '/bucket/key?x=1', nth: 0 },
      { method: 'PUT', path: '/bucket/key?x=1', nth: 1 },
    ]);
  });

  it('drops a request', async () => {
    await start({ faultOf: ({ nth }) => (nth === 0 ? { kind: 'drop' } : undefined) });
    expect((await exchange()).code).to.equal('ECONNRESET');
    expect((await exchange()).got.equals(content)).to.equal(true);
    expect(proxy.faults).to.equal(1);
  });

  for (const at of [0, 1, 100_000, bytes - 1]) {
    it(`resets the connection after ${at} bytes of the body`, async () => {
      await start({ faultOf: ({ nth }) => (nth === 0 ? { kind: 'reset', at } : undefined) });
      const { got, code } = await exchange();
      expect(code).to.equal('ECONNRESET');
      expect(got.equals(content.subarray(0, got.byteLength))).to.equal(true);
      expect(got.byteLength).to.be.at.most(at);
      expect((await exchange()).got.equals(content)).to.equal(true);
    });

    it(`flips a bit of byte ${at} of the body`, async () => {
      await start({ faultOf: () => ({ kind: 'corrupt', at }) });
      const { got } = await exchange();
      const differing = [...got.keys()].filter((i) => got[i] !== content[i]);
      expect(got.byteLength).to.equal(bytes);
      expect(differing).to.deep.equal([at]);
    });
  }

  it('flips a bit of what is sent, also after 100 Continue', async () => {
    for (const headers of [{}, { expect: '100-continue' }]) {
      await start({ faultOf: () => ({ kind: 'corrupt', at: 5, of: 'request' }) });
      const { got } = await exchange('PUT', content, headers);
      expect([...got.keys()].filter((i) => got[i] !== content[i])).to.deep.equal([5]);
      agent.destroy();
      await proxy.close();
    }
  });

  it('falls silent in the middle of a body', async () => {
    await start({ faultOf: () => ({ kind: 'stall', at: 1000 }) });
    const outgoing = request(`${proxy.endpoint}/`, { agent });
    outgoing.end();
    const [answer] = (await once(outgoing, 'response')) as [NodeJS.ReadableStream];
    let came = 0;
    const enough = new Promise<void>((resolve) => {
      answer.on('data', (part: Buffer) => {
        came += part.byteLength;
        if (came >= 1000) resolve();
      });
    });
    answer.on('error', () => undefined); // when the test ends
    await enough;
    expect(came).to.equal(1000);
    expect(proxy.faults).to.equal(1);
  });

  it('counts no fault beyond the end of a body', async () => {
    await start({ faultOf: () => ({ kind: 'reset', at: bytes }) });
    expect((await exchange()).got.equals(content)).to.equal(true);
    expect(proxy.faults).to.equal(0);
  });

  it('does the same again with the same seed', () => {
    const draw = (seed: number): number[] => Array.from({ length: 100 }, randomNumbers(seed));
    expect(draw(7)).to.deep.equal(draw(7));
    expect(draw(7)).not.to.deep.equal(draw(8));
    for (const number of draw(7)) expect(number).to.be.within(0, 1).and.not.equal(1);
  });
});
