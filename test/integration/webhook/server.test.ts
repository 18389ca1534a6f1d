import { mkdtemp, rename, rm, symlink, writeFile, mkdir } from 'node:fs/promises';
import https from 'node:https';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import type { KeyPair } from '../../../certs/key-pair.ts';
import { createLog, type Log } from '../../../proto/logging.ts';
import { annotations } from '../../../proto/names.ts';
import { type Certificate, readCertificate, watchCertificate } from '../../../webhook/certificate.ts';
import { createWebhookServer, type WebhookServer } from '../../../webhook/server.ts';
import { deployment, reviewOf, settings } from '../../unit/webhook/support/samples.ts';
import { isPodferryError } from '../../unit/webhook/support/errors.ts';

const dnsName = 'podferry-webhook.migration-system.svc';
const body = JSON.stringify(
  reviewOf(deployment({ containers: [{ name: 'app', command: ['/app'] }] }, { [annotations.enabled]: 'true' })),
);

interface Reply {
  readonly status: number;
  readonly connection: string | undefined;
  readonly text: string;
  /** Serial of the certificate that the connection was made with. */
  readonly serial: string;
  readonly reused: boolean;
}

describe('webhook server over TLS', () => {
  let authority: KeyPair;
  let first: KeyPair;
  let second: KeyPair;
  let server: WebhookServer;
  let agent: https.Agent;
  let log: Log;

  before(async () => {
    authority = await issueAuthority(Date.now());
    first = await issueLeaf([dnsName], authority, Date.now());
    second = await issueLeaf([dnsName], authority, Date.now());
  });
  beforeEach(async () => {
    log = createLog('test');
    log.silent = true;
    server = createWebhookServer(withCa(first), () => settings, log);
    agent = new https.Agent({ keepAlive: true, maxSockets: 4 });
    server.https.listen(0, '127.0.0.1');
    await once(server.https, 'listening');
  });
  afterEach(async () => {
    agent.destroy();
    await server.close(0);
  });

  const withCa = (pair: KeyPair): Certificate => ({ ...pair, ca: authority.cert });

  interface Asking {
    readonly method?: string;
    readonly path?: string;
    readonly type?: string;
    readonly payload?: string;
    readonly through?: https.Agent;
  }

  function ask({
    method = 'POST',
    path = '/mutate',
    type = 'application/json',
    payload = body,
    through = agent,
  }: Asking = {}) {
    return new Promise<Reply>((resolve, reject) => {
      const request = https.request(
        {
          host: '127.0.0.1',
          port: server.port,
          servername: dnsName,
          ca: authority.cert,
          agent: through,
          method,
          path,
          headers: method === 'GET' ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(payload) },
        },
        (response) => {
          const serial = (response.socket as TLSSocket).getPeerCertificate().serialNumber;
          text(response).then(
            (answered) =>
              resolve({
                status: response.statusCode ?? 0,
                connection: response.headers.connection,
                text: answered,
                serial,
                reused: request.reusedSocket,
              }),
            reject,
          );
        },
      );
      request.on('error', reject);
      request.end(method === 'GET' ? undefined : payload);
    });
  }

  const responseIn = (reply: Reply) =>
    (JSON.parse(reply.text) as { response: { allowed: boolean; patch?: string } }).response;

  it('injects', async () => {
    const reply = await ask();
    expect(reply.status).to.equal(200);
    expect(responseIn(reply)).to.include({ allowed: true }).and.to.have.property('patch');
  });

  const refusals: readonly (Asking & { readonly name: string; readonly status: number; readonly says: RegExp })[] = [
    { name: 'a body that is no JSON', payload: '{"apiVersion":', status: 400, says: /no JSON/ },
    { name: 'an empty body', payload: '', status: 400, says: /no JSON/ },
    { name: 'another type', type: 'application/yaml', status: 415, says: /application\/json/ },
    {
      name: 'another version',
      payload: body.replace('k8s.io/v1"', 'k8s.io/v1beta1"'),
      status: 400,
      says: /admission\.k8s\.io\/v1/,
    },
    { name: 'a body that is too large', payload: `{"a":"${'x'.repeat(9_000_000)}"}`, status: 413, says: /too large/ },
    { name: 'another path', path: '/validate', status: 404, says: /not found/ },
    { name: 'another method', method: 'GET', status: 404, says: /not found/ },
  ];
  for (const { name, status, says, ...asking } of refusals) {
    it(`refuses ${name} with ${status} and goes on`, async () => {
      const reply = await ask(asking);
      expect(reply.status).to.equal(status);
      expect(reply.text).to.match(says);
      expect((await ask()).status).to.equal(200);
    });
  }

  it('does not wait for a client that never ends its request', async () => {
    const hasty = createWebhookServer(withCa(first), () => settings, log, 100);
    hasty.https.listen(0, '127.0.0.1');
    await once(hasty.https, 'listening');
    const socket = connect({ host: '127.0.0.1', port: hasty.port, servername: dnsName, ca: authority.cert });
    socket.write('POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{');
    expect(await text(socket)).to.match(/^HTTP\/1\.1 408 /);
    await hasty.close(1000);
  });

  it('takes a new certificate under load without losing a request or a connection', async () => {
    const before = await ask();
    const replies: Reply[] = [];
    for (let round = 0; round < 20; round += 1) {
      server.useCertificate(withCa(round % 2 === 0 ? second : first));
      replies.push(...(await Promise.all(Array.from({ length: 10 }, () => ask()))));
    }
    server.useCertificate(withCa(second));
    expect(replies.every((reply) => reply.status === 200 && 'patch' in responseIn(reply))).to.equal(true);
    // What was open stays open, with the certificate it began with.
    expect(replies.some((reply) => reply.reused && reply.serial === before.serial)).to.equal(true);
    const fresh = new https.Agent();
    expect((await ask({ through: fresh })).serial).to.not.equal(before.serial);
  });

  it('leaves politely: not ready, connections asked to end, and everything answered', async () => {
    expect(await ask({ method: 'GET', path: '/readyz' })).to.include({ status: 200, text: 'ok' });
    server.leave();
    expect(await ask({ method: 'GET', path: '/readyz' })).to.include({ status: 503, connection: 'close' });
    expect(await ask({ method: 'GET', path: '/healthz' })).to.include({ status: 200 });
    const last = await ask();
    expect(responseIn(last)).to.have.property('patch');
    expect(last.connection).to.equal('close');
    await server.close(1000);
    expect(server.https.listening).to.equal(false);
    server.https.listen(0, '127.0.0.1');
  });

  it('keeps idle connections longer than an API server does, also those that were never used', () => {
    const { keepAliveTimeout, headersTimeout, requestTimeout } = server.https;
    expect(Math.min(keepAliveTimeout, headersTimeout, requestTimeout)).to.be.at.least(120_000);
  });

  describe('with a mounted Secret', () => {
    let directory: string;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'podferry-webhook-'));
      await mount('1', withCa(first));
    });
    afterEach(() => rm(directory, { recursive: true }));

    /** As the kubelet does it: a new directory, and one symbolic link renamed over the old. */
    async function mount(version: string, { cert, key, ca }: Certificate): Promise<void> {
      const folder = join(directory, version);
      await mkdir(folder);
      await Promise.all(
        Object.entries({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca }).map(([name, pem]) =>
          writeFile(join(folder, name), pem),
        ),
      );
      await symlink(version, join(directory, 'next'));
      await rename(join(directory, 'next'), join(directory, 'tls'));
    }

    it('sees the new one, but not one whose halves do not fit', async () => {
      const stop = new AbortController();
      const seen: Certificate[] = [];
      const warned = once(log, 'warned');
      log.warn = (): Log => {
        log.emit('warned');
        return log;
      };
      const changed = new Promise<void>((resolve) => {
        const current = withCa(first);
        const options = { everyMs: 5, signal: stop.signal, log };
        void watchCertificate(join(directory, 'tls'), current, options, (certificate) => {
          seen.push(certificate);
          resolve();
        });
      });
      await mount('2', { cert: second.cert, key: first.key, ca: authority.cert });
      await warned;
      expect(seen).to.deep.equal([]);
      await mount('3', withCa(second));
      await changed;
      expect(seen).to.deep.equal([withCa(second)]);
      stop.abort();
    });

    const unusable: readonly { readonly name: string; readonly change: () => Promise<unknown> }[] = [
      { name: 'a missing file', change: () => rm(join(directory, 'tls', 'ca.crt')) },
      { name: 'a CA that is none', change: () => writeFile(join(directory, 'tls', 'ca.crt'), 'none') },
      { name: 'a key that is none', change: () => writeFile(join(directory, 'tls', 'tls.key'), 'none') },
      {
        name: 'the key of another certificate',
        change: () => writeFile(join(directory, 'tls', 'tls.key'), second.key),
      },
    ];
    for (const { name, change } of unusable) {
      it(`refuses ${name}`, async () => {
        await change();
        let failure: unknown;
        await readCertificate(join(directory, 'tls')).catch((error: unknown) => (failure = error));
        expect(failure).to.satisfy(isPodferryError('CONFIG_INVALID'));
      });
    }
  });
});
