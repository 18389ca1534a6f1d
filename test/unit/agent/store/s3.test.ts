import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { createS3Store, type ClosableStore } from '../../../../agent/store/s3.ts';
import { PodferryError } from '../../../../proto/errors.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer, nth: number) => void;

const refusal = (response: ServerResponse, status: number, code: string): void => {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
};

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof PodferryError ? error.code : String(error);
}

describe('S3 store', () => {
  const body = randomBytes(300_000);
  const key = 'default/deployment-app/one/packs/a';
  const never = new AbortController().signal;
  const options = { sha256: sha256Hex(body), signal: never };
  let ends: (() => void)[] = [];

  afterEach(() => {
    for (const end of ends) end();
    ends = [];
  });

  /** A store whose server does as told. */
  async function storeWith(handle: Handler): Promise<ClosableStore> {
    let requests = 0;
    const server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (chunk: Buffer) => parts.push(chunk));
      request.on('end', () => handle(request, response, Buffer.concat(parts), requests++));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const settings = {
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      bucket: 'bucket',
      accessKeyId: 'id',
      secretAccessKey: 'a-very-secret-key',
      forcePathStyle: true,
    };
    const store = createS3Store(settings, { connectMs: 500, requestMs: 500, idleMs: 300 });
    ends.push(
      () => store.close(),
      () => {
        server.closeAllConnections();
        server.close();
      },
    );
    return store;
  }

  it('writes the body under the digest it was given', async () => {
    let seen: { url: string | undefined; digest: unknown; once: unknown; body: Buffer } | undefined;
    const store = await storeWith((request, response, got) => {
      seen = {
        url: request.url?.split('?')[0],
        digest: request.headers['x-amz-content-sha256'],
        once: request.headers['if-none-match'],
        body: got,
      };
      response.end();
    });
    await store.put(key, body, options);
    expect(seen?.url).to.equal(`/bucket/${key}`);
    expect(seen?.digest).to.equal(options.sha256);
    expect(seen?.once).to.equal(undefined);
    expect(seen?.body.equals(body)).to.equal(true);
    await store.putOnce(key, body, options);
    expect(seen?.once).to.equal('*');
  });

  const refusals = [
    { status: 403, code: 'AccessDenied', write: 'STORE_DENIED', read: 'STORE_DENIED' },
    { status: 404, code: 'NoSuchBucket', write: 'STORE_DENIED', read: 'STORE_DENIED' },
    { status: 404, code: 'NoSuchKey', write: 'STORE_WRITE_FAILED', read: 'OBJECT_MISSING' },
    { status: 400, code: 'BadDigest', write: 'STORE_WRITE_FAILED', read: 'STORE_READ_FAILED' },
    { status: 507, code: 'QuotaExceeded', write: 'STORE_WRITE_FAILED', read: 'STORE_READ_FAILED' },
  ];
  for (const { status, code, write, read } of refusals) {
    it(`names ${status} ${code} ${write} or ${read}, and keeps the secret to itself`, async () => {
      const store = await storeWith((_request, response) => refusal(response, status, code));
      const target = Buffer.alloc(body.byteLength);
      expect(await codeOf(store.put(key, body, options))).to.equal(write);
      expect(await codeOf(store.get(key, 1_000_000, never))).to.equal(read);
      const error: unknown = await store.read(key, target, body.byteLength, never).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(PodferryError).with.property('code', read);
      expect((error as Error).message)
        .to.include(key)
        .and.not.include('secret');
    });
  }

  it('names a server that is not there STORE_UNREACHABLE', async () => {
    const store = await storeWith((_request, response) => response.end());
    for (const end of ends) end();
    expect(await codeOf(store.put(key, body, options))).to.equal('STORE_UNREACHABLE');
  });

  it('tries again after a passing fault', async () => {
    const store = await storeWith((_request, response, _body, nth) =>
      nth === 0 ? refusal(response, 503, 'SlowDown') : response.end(),
    );
    await store.put(key, body, options);
  });

  describe('an object that exists already', () => {
    const cases = [
      { name: 'is success with the same bytes', there: body, code: 'undefined' },
      { name: 'is refused with other bytes', there: randomBytes(300_000), code: 'STORE_WRITE_FAILED' },
      { name: 'is refused with more bytes', there: Buffer.concat([body, body]), code: 'STORE_WRITE_FAILED' },
    ];
    for (const { name, there, code } of cases) {
      it(name, async () => {
        const store = await storeWith((request, response) =>
          request.method === 'PUT' ? refusal(response, 412, 'PreconditionFailed') : response.end(there),
        );
        expect(await codeOf(store.putOnce(key, body, options))).to.equal(code);
      });
    }
  });

  describe('reading', () => {
    const cut = 50_000;
    /** Sends the part that is asked for, but breaks off the first answers. */
    const broken =
      (breaks: number, how: (response: ServerResponse) => void): Handler =>
      (request, response, _body, nth) => {
        const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
        response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.byteLength - from });
        if (nth >= breaks) response.end(body.subarray(from));
        else response.write(body.subarray(from, from + cut), () => how(response));
      };

    const faults = [
      { name: 'a reset in mid-body', how: (response: ServerResponse) => void response.socket?.resetAndDestroy() },
      { name: 'an end in mid-body', how: (response: ServerResponse) => void response.socket?.end() },
      { name: 'silence in mid-body', how: () => undefined },
    ];
    for (const { name, how } of faults) {
      it(`goes on after ${name}`, async () => {
        const store = await storeWith(broken(2, how));
        const target = Buffer.alloc(body.byteLength);
        await store.read(key, target, body.byteLength, never);
        expect(target.equals(body)).to.equal(true);
      });

      it(`gets an object whole after ${name}`, async () => {
        const store = await storeWith(broken(2, how));
        expect(Buffer.compare(await store.get(key, body.byteLength, never), body)).to.equal(0);
      });

      it(`gives up after ${name} again and again`, async () => {
        const store = await storeWith(broken(Number.POSITIVE_INFINITY, how));
        const target = Buffer.alloc(body.byteLength);
        expect(await codeOf(store.read(key, target, body.byteLength, never))).to.equal('STORE_UNREACHABLE');
      });
    }

    const sizes = [
      { name: 'shorter', size: body.byteLength + 1 },
      { name: 'longer', size: body.byteLength - 1 },
    ];
    for (const { name, size } of sizes) {
      it(`refuses an object that is ${name} than it should be`, async () => {
        const store = await storeWith((_request, response) => response.end(body));
        expect(await codeOf(store.read(key, Buffer.alloc(400_000), size, never))).to.equal('OBJECT_CORRUPT');
      });
    }

    it('refuses to get more than was agreed', async () => {
      const store = await storeWith((_request, response) => response.end(body));
      expect(await codeOf(store.get(key, 1000, never))).to.equal('OBJECT_CORRUPT');
    });

    it('ends with its signal, for its reason', async () => {
      const controller = new AbortController();
      const store = await storeWith(() => controller.abort(new PodferryError('DEADLINE_EXCEEDED', 'late')));
      expect(await codeOf(store.get(key, 1000, controller.signal))).to.equal('DEADLINE_EXCEEDED');
    });
  });
});
