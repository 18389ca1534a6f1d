import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TokenServer {
  readonly realm: string;
  /** What was asked for, and as whom. */
  readonly asked: readonly { readonly scope: string; readonly as: string | undefined }[];
  /** For whoever pushes. */
  pushToken(repository: string): string;
  stop(): Promise<void>;
}

export interface TokenServerOptions {
  readonly issuer: string;
  readonly service: string;
  /** Of a certificate that the registry trusts. */
  readonly signer: { readonly cert: string; readonly key: string };
  /** Repositories that anybody may pull. */
  readonly open: readonly string[];
  /** "user:password" of the one who may pull everything, and push. */
  readonly account: string;
}

/** What Docker Hub has beside its registry. @see distribution docs/spec/auth/token.md and jwt.md */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const asked: { scope: string; as: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://token');
    const scope = searchParams.get('scope') ?? '';
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const as = basic && Buffer.from(basic, 'base64').toString();
    asked.push({ scope, as });
    const [type = '', name = '', actions = ''] = scope.split(':');
    if (as !== undefined && as !== options.account) {
      response.writeHead(401).end();
      return;
    }
    const granted = as !== undefined || options.open.includes(name) ? actions.split(',') : [];
    const token = tokenOf(options, [{ type, name, actions: granted }]);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    realm: `http://localhost:${(server.address() as AddressInfo).port}/token`,
    asked,
    pushToken: (name) => tokenOf(options, [{ type: 'repository', name, actions: ['pull', 'push'] }]),
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function tokenOf({ issuer, service, signer }: TokenServerOptions, access: readonly object[]): string {
  const now = Math.floor(Date.now() / 1000);
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const key = createPrivateKey(signer.key);
  const isElliptic = key.asymmetricKeyType === 'ec';
  const x5c = [new X509Certificate(signer.cert).raw.toString('base64')];
  const head = encode({ typ: 'JWT', alg: isElliptic ? 'ES256' : 'RS256', x5c });
  const times = { iat: now, nbf: now - 60, exp: now + 300 };
  const body = encode({ iss: issuer, sub: '', aud: service, jti: randomUUID(), access, ...times });
  const signature = sign('sha256', Buffer.from(`${head}.${body}`), { key, dsaEncoding: 'ieee-p1363' });
  return `${head}.${body}.${signature.toString('base64url')}`;
}
