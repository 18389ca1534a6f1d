import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import type { KeyPair } from '../../../certs/key-pair.ts';
import { bundleOf } from '../../../certs/plan-certificates.ts';

const names = ['podferry-operator.migration-system.svc', 'podferry-operator.migration-system.svc.cluster.local'];

describe('issue', () => {
  let authority: KeyPair;
  let other: KeyPair;
  let leaf: KeyPair;
  let directory: string;

  before(async () => {
    [authority, other] = await Promise.all([issueAuthority(Date.now()), issueAuthority(Date.now())]);
    leaf = await issueLeaf(names, authority, Date.now());
    directory = mkdtempSync(join(tmpdir(), 'podferry-issue-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  function openssl(...args: readonly string[]): string {
    return execFileSync('openssl', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  it('satisfies openssl verify in its strict mode, and only with its own CA', () => {
    writeFileSync(join(directory, 'ca.pem'), authority.cert);
    writeFileSync(join(directory, 'other.pem'), other.cert);
    writeFileSync(join(directory, 'leaf.pem'), leaf.cert);
    const strict = ['-x509_strict', '-purpose', 'sslserver', '-verify_hostname', names[0] ?? ''];
    expect(openssl('verify', ...strict, '-CAfile', 'ca.pem', 'leaf.pem')).to.equal('leaf.pem: OK\n');
    expect(() => openssl('verify', ...strict, '-CAfile', 'other.pem', 'leaf.pem')).to.throw();
  });

  it('cannot sign further CAs and lives as long as it should', () => {
    const days = (pem: string) => {
      const { validFrom, validTo } = new X509Certificate(pem);
      return (Date.parse(validTo) - Date.parse(validFrom)) / (24 * 60 * 60 * 1000);
    };
    expect(days(authority.cert)).to.be.closeTo(3650, 0.1);
    expect(days(leaf.cert)).to.be.closeTo(90, 0.1);
    expect(new X509Certificate(authority.cert).ca).to.equal(true);
    expect(new X509Certificate(leaf.cert).ca).to.equal(false);
    writeFileSync(join(directory, 'ca.pem'), authority.cert);
    expect(openssl('x509', '-in', 'ca.pem', '-noout', '-ext', 'basicConstraints')).to.match(/CA:TRUE, pathlen:0/);
  });

  const handshakes = [
    { name: 'its CA', ca: () => authority.cert, servername: names[0], isTrusted: true },
    {
      name: 'a bundle that holds its CA',
      ca: () => bundleOf({ current: other, previous: authority.cert }),
      servername: names[1],
      isTrusted: true,
    },
    { name: 'another CA', ca: () => other.cert, servername: names[0], isTrusted: false },
    {
      name: 'another name',
      ca: () => authority.cert,
      servername: 'podferry-webhook.migration-system.svc',
      isTrusted: false,
    },
  ];
  for (const { name, ca, servername, isTrusted } of handshakes) {
    it(`${isTrusted ? 'is trusted' : 'is refused'} in a handshake by ${name}`, async () => {
      const server = createServer({ cert: leaf.cert, key: leaf.key }, (socket) =>
        socket.on('error', () => socket.destroy()).end(),
      );
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const outcome = await new Promise<boolean>((resolve) => {
        const socket = connect({ host: '127.0.0.1', port, servername: servername ?? '', ca: ca() });
        socket.on('secureConnect', () => resolve(socket.authorized)).on('error', () => resolve(false));
        socket.on('secureConnect', () => socket.destroy());
      });
      await new Promise((resolve) => server.close(resolve));
      expect(outcome).to.equal(isTrusted);
    });
  }
});
