import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { createS3Store, type ClosableStore, type S3Settings } from '../../../../agent/store/s3.ts';

const body = Buffer.from('a body');
const { signal } = new AbortController();
const session =
  '<CreateSessionResult><Credentials><SessionToken>session-token</SessionToken><SecretAccessKey>session-secret</SecretAccessKey>' +
  '<AccessKeyId>SESSIONKEY</AccessKeyId><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>';

interface Seen {
  readonly method: string | undefined;
  readonly url: URL;
  readonly headers: IncomingMessage['headers'];
}

describe('proto/s3/client', () => {
  let server: Server;
  let seen: Seen[];
  let store: ClosableStore;
  let answer: (url: URL, response: ServerResponse) => void;

  beforeEach(async () => {
    seen = [];
    answer = (_url, response) => response.end();
    server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        const url = new URL(request.url ?? '', `http://${request.headers.host}`);
        seen.push({ method: request.method, url, headers: request.headers });
        answer(url, response);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    store.close();
    server.closeAllConnections();
    server.close();
  });

  function open(more: Partial<S3Settings>): ClosableStore {
    const { port } = server.address() as AddressInfo;
    const keys = { accessKeyId: 'KEY', secretAccessKey: 'a-very-secret-key' };
    const place = {
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-west-2',
      bucket: 'bucket',
      forcePathStyle: false,
    };
    store = createS3Store({ ...place, ...keys, ...more });
    return store;
  }

  describe('a bucket of S3 Express One Zone', () => {
    const bucket = 'fast--usw2-az1--x-s3';
    beforeEach(() => {
      answer = (url, response) => response.end(url.searchParams.has('session') ? session : '');
      open({ bucket });
    });

    it('is written to within a session, under our digest, and once', async () => {
      await store.putOnce('a/key', body, { sha256: sha256Hex(body), signal });
      expect(seen.map(({ method }) => method)).to.deep.equal(['GET', 'PUT']);
      const [opening, put] = seen;
      // An endpoint that is an IP address, as only here, gives a slash more.
      expect(opening?.url.pathname).to.match(new RegExp(`^/${bucket}/*$`));
      expect(opening?.headers.authorization).to.match(/Credential=KEY\/\d+\/us-west-2\/s3express\//);
      expect(put?.url.pathname).to.match(new RegExp(`^/${bucket}/+a/key$`));
      expect(put?.headers.authorization).to.match(/Credential=SESSIONKEY\/\d+\/us-west-2\/s3express\//);
      expect(put?.headers).to.include({
        'x-amz-s3session-token': 'session-token',
        'x-amz-content-sha256': sha256Hex(body),
        'if-none-match': '*',
      });
    });

    it('keeps its session, and is listed by folders: it knows no other prefixes', async () => {
      const entry = (key: string): string => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`;
      answer = (url, response) => {
        if (url.searchParams.has('session')) response.end(session);
        else response.end(`<ListBucketResult>${entry('a/b/collected')}${entry('a/b/other')}</ListBucketResult>`);
      };
      const keys: string[] = [];
      for (let round = 0; round < 2; round += 1)
        for await (const { key } of store.list('a/b/coll', signal)) keys.push(key);
      expect(keys).to.deep.equal(['a/b/collected', 'a/b/collected']);
      expect(seen.filter(({ url }) => url.searchParams.has('session'))).to.have.length(1);
      expect(seen.at(-1)?.url.searchParams.get('prefix')).to.equal('a/b/');
    });
  });

  it('asks MinIO by paths, however it is set', async () => {
    await open({ type: 'minio' }).put('a/key', body, { sha256: sha256Hex(body), signal });
    expect(seen[0]?.url.pathname).to.equal('/bucket/a/key');
  });

  it('shows the token of a session', async () => {
    await open({ forcePathStyle: true, sessionToken: 'of-sts' }).put('a/key', body, {
      sha256: sha256Hex(body),
      signal,
    });
    expect(seen[0]?.headers['x-amz-security-token']).to.equal('of-sts');
  });

  describe('denied to read, with rights on a prefix only', () => {
    const listed = '<Contents><Key>a/key</Key><Size>1</Size></Contents>';
    for (const { name, contents, code } of [
      { name: 'what is not there calls it missing', contents: '', code: 'OBJECT_MISSING' },
      { name: 'what is there says so', contents: listed, code: 'STORE_DENIED' },
    ]) {
      it(name, async () => {
        answer = (url, response) => {
          if (url.searchParams.has('list-type')) response.end(`<ListBucketResult>${contents}</ListBucketResult>`);
          else response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
        };
        open({ forcePathStyle: true, sessionToken: 'of-sts' });
        expect(await codeOf(store.get('a/key', 1, signal))).to.equal(code);
        expect(await codeOf(store.readRange('a/key', 0, Buffer.alloc(1), 1, signal))).to.equal(code);
      });
    }
  });

  it('shows no token without one', async () => {
    await open({ forcePathStyle: true }).put('a/key', body, { sha256: sha256Hex(body), signal });
    expect(seen[0]?.headers).not.to.have.property('x-amz-security-token');
  });
});
