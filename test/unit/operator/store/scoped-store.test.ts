import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { createScopedStores, type ScopedStores } from '../../../../operator/store/scoped-store.ts';
import { sessionPolicy } from '../../../../operator/store/session-policy.ts';
import { codeOf } from '../../../fakes/expect-code.ts';

const arn = 'arn:aws:iam::123456789012:role/podferry';
const prefix = 'ns/deployment-web/i-1/';
const store = {
  type: 's3',
  endpoint: 'http://127.0.0.1:1',
  region: 'eu-central-1',
  bucket: 'b',
  accessKeyId: 'OPERATOR',
  secretAccessKey: 'operator-secret',
  forcePathStyle: true,
};
const granted =
  '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>' +
  '<AccessKeyId>SCOPED</AccessKeyId><SecretAccessKey>scoped-secret</SecretAccessKey><SessionToken>token</SessionToken>' +
  '<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>';
const refused =
  '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>' +
  '<Message>not for you</Message></Error></ErrorResponse>';

describe('operator/store/scoped-store', () => {
  let server: Server;
  let asked: URLSearchParams[];
  let signedBy: (string | undefined)[];
  let answer: { readonly status: number; readonly body: string };
  let scoped: ScopedStores;

  beforeEach(async () => {
    asked = [];
    signedBy = [];
    answer = { status: 200, body: granted };
    server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (chunk: Buffer) => parts.push(chunk));
      request.on('end', () => {
        asked.push(new URLSearchParams(Buffer.concat(parts).toString()));
        signedBy.push(request.headers.authorization);
        response.writeHead(answer.status, { 'content-type': 'text/xml' }).end(answer.body);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    scoped = createScopedStores(store, { arn, stsEndpoint: `http://127.0.0.1:${port}` });
  });
  afterEach(() => {
    scoped.close();
    server.closeAllConnections();
    server.close();
  });

  it("asks for the role under a policy of the instance, and gives nothing of the operator's own", async () => {
    const got = await scoped.storeFor(prefix, 'i-1');
    expect(Object.fromEntries(asked[0] ?? [])).to.include({
      Action: 'AssumeRole',
      RoleArn: arn,
      RoleSessionName: 'podferry-i-1',
      DurationSeconds: '3600',
      Policy: sessionPolicy('aws', 'b', prefix),
    });
    expect(signedBy[0]).to.match(/Credential=OPERATOR\/\d+\/eu-central-1\/sts\//);
    expect(got).to.deep.equal({
      ...store,
      accessKeyId: 'SCOPED',
      secretAccessKey: 'scoped-secret',
      sessionToken: 'token',
      validSeconds: 3600,
    });
  });

  it('makes a name of a session of any instance', async () => {
    await scoped.storeFor(prefix, `ä/${'x'.repeat(100)}`);
    expect(asked[0]?.get('RoleSessionName')).to.match(/^podferry-[\w+=,.@-]{55}$/);
  });

  const failures: { name: string; status: number; body: string; code: string }[] = [
    { name: 'a refusal', status: 403, body: refused, code: 'STORE_DENIED' },
    { name: 'an answer without credentials', status: 200, body: '<AssumeRoleResponse/>', code: 'STORE_READ_FAILED' },
    { name: 'a server that is at its end', status: 500, body: '', code: 'STORE_READ_FAILED' },
  ];
  for (const { name, status, body, code } of failures) {
    it(`names ${name} ${code}`, async () => {
      answer = { status, body };
      expect(await codeOf(scoped.storeFor(prefix, 'i'))).to.equal(code);
    });
  }

  it('names a server that is not there STORE_UNREACHABLE', async () => {
    const lost = createScopedStores(store, { arn, stsEndpoint: 'http://127.0.0.1:9' });
    expect(await codeOf(lost.storeFor(prefix, 'i'))).to.equal('STORE_UNREACHABLE');
    lost.close();
  });

  it('asks for no rights that cannot be kept apart', async () => {
    expect(await codeOf(scoped.storeFor('ns/*/', 'i'))).to.equal('ANNOTATION_INVALID');
    expect(asked).to.deep.equal([]);
  });
});
