import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import forge from 'node-forge';
import type { KeyPair } from './key-pair.ts';

/** RSA, since the library that writes certificates knows no other; the keys themselves are OpenSSL's. */
const keyBits = 2048;

const dayMs = 24 * 60 * 60 * 1000;
const authorityLifeMs = 3650 * dayMs;
const leafLifeMs = 90 * dayMs;

/** Certificates begin in the past, for clocks that are behind ours. */
const skewMs = 5 * 60 * 1000;

/** A CA of its own name, so that two generations of it can be told apart. */
export async function issueAuthority(nowMs: number): Promise<KeyPair> {
  const key = await newKey();
  const certificate = draft(
    key,
    { commonName: `podferry-ca-${randomBytes(4).toString('hex')}` },
    nowMs,
    authorityLifeMs,
  );
  certificate.setIssuer(certificate.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  certificate.sign(privateKeyOf(key), forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate), key };
}

/** A serving certificate for the names, signed by the CA. */
export async function issueLeaf(dnsNames: readonly string[], authority: KeyPair, nowMs: number): Promise<KeyPair> {
  const issuer = forge.pki.certificateFromPem(authority.cert);
  const key = await newKey();
  const certificate = draft(key, { commonName: dnsNames[0] ?? '' }, nowMs, leafLifeMs);
  certificate.setIssuer(issuer.subject.attributes);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames: dnsNames.map((value) => ({ type: dnsNameType, value })) },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes() },
  ]);
  certificate.sign(privateKeyOf(authority.key), forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate), key };
}

/** Of GeneralName in RFC 5280, section 4.2.1.6. */
const dnsNameType = 2;

/** X.509 limits a common name to this many characters. */
const longestCommonName = 64;

function draft(
  key: string,
  { commonName }: { readonly commonName: string },
  nowMs: number,
  lifeMs: number,
): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  const { n, e } = privateKeyOf(key);
  certificate.publicKey = forge.pki.setRsaPublicKey(n, e);
  // A leading digit below 8 keeps the number positive, as RFC 5280 wants it.
  certificate.serialNumber = `4${randomBytes(16).toString('hex').slice(1)}`;
  certificate.validity.notBefore = new Date(nowMs - skewMs);
  certificate.validity.notAfter = new Date(nowMs + lifeMs);
  certificate.setSubject([{ name: 'commonName', value: commonName.slice(0, longestCommonName) }]);
  return certificate;
}

async function newKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: keyBits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return privateKey;
}

function privateKeyOf(pem: string): forge.pki.rsa.PrivateKey {
  return forge.pki.privateKeyFromPem(pem);
}
