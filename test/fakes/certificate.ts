import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A self-signed serving certificate in a directory, as a mounted Secret would show it. */
export interface TestCertificate {
  readonly dir: string;
  readonly pem: Buffer;
}

/** @param dir where to write tls.crt, tls.key and ca.crt; a new temporary directory when it is not given */
export function makeCertificate(
  serverName: string,
  dir = mkdtempSync(join(tmpdir(), 'podferry-tls-')),
): TestCertificate {
  mkdirSync(dir, { recursive: true });
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
      ...['-subj', '/CN=podferry-test', '-addext', `subjectAltName=DNS:${serverName}`],
      ...['-keyout', join(dir, 'tls.key'), '-out', join(dir, 'tls.crt')],
    ],
    { stdio: 'ignore' },
  );
  return { dir, pem: readFileSync(join(dir, 'tls.crt')) };
}
