import type { X509Certificate } from 'node:crypto';
import { after, certificateOf, type KeyPair, keyPairOf, lifetimeOf } from './key-pair.ts';

/** Decoded data of a Secret; undefined when there is none. */
export type SecretData = Readonly<Record<string, string>> | undefined;

/**
 * The CA over its generations. A new one is trusted (`next`) for years before it signs anything, and an old one
 * (`previous`) as long as it lives, since agents know the CAs of the day their Deployment was injected.
 */
export interface Authority {
  readonly current: KeyPair;
  readonly next?: KeyPair | undefined;
  readonly previous?: string | undefined;
}

export interface LeafSpec {
  readonly secret: string;
  readonly dnsNames: readonly string[];
}

export type AuthorityAction = 'keep' | 'create' | 'stage-next' | 'promote-next' | 'write';
export type LeafAction = 'keep' | 'issue' | 'write-bundle';

export interface AuthorityPlan {
  readonly action: AuthorityAction;
  /** What is there already and worth keeping; undefined with `create`. */
  readonly authority?: Authority;
}

/** Shares of a CA's life (10 years) and of a leaf's (90 days). */
const stageNextAfter = 2 / 3;
const promoteNextAfter = 5 / 6;
const renewLeafAfter = 2 / 3;

/** What the Secret of the CA needs. A broken or expired CA is made anew: everything it signed is then issued again. */
export function planAuthority(secret: SecretData, nowMs: number): AuthorityPlan {
  const current = usableAuthority(secret?.['tls.crt'], secret?.['tls.key'], nowMs);
  if (secret === undefined || current === undefined) return { action: 'create' };
  const next = usableAuthority(secret['next.crt'], secret['next.key'], nowMs);
  const previous = stillTrusted(secret['previous.crt'], nowMs);
  const authority: Authority = { current: current.pair, next: next?.pair, previous };
  const life = lifetimeOf(current.certificate);
  if (next === undefined && nowMs >= after(stageNextAfter, life)) return { action: 'stage-next', authority };
  if (next !== undefined && nowMs >= after(promoteNextAfter, life)) return { action: 'promote-next', authority };
  return { action: isSame(secret, authorityData(authority)) ? 'keep' : 'write', authority };
}

/** What a serving certificate's Secret needs under this CA. */
export function planLeaf(secret: SecretData, spec: LeafSpec, authority: Authority, nowMs: number): LeafAction {
  const pair = keyPairOf(secret?.['tls.crt'], secret?.['tls.key']);
  const certificate = pair === undefined ? undefined : certificateOf(pair.cert);
  const issuer = certificateOf(authority.current.cert);
  if (secret === undefined || pair === undefined || certificate === undefined || issuer === undefined) return 'issue';
  const life = lifetimeOf(certificate);
  const isOurs = certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  const isFresh = nowMs >= life.fromMs && nowMs < after(renewLeafAfter, life);
  if (!isOurs || !isFresh || !hasExactly(certificate, spec.dnsNames)) return 'issue';
  return isSame(secret, leafData(pair, authority)) ? 'keep' : 'write-bundle';
}

/** Every CA that is to be trusted, the signing one first, as PEM. */
export function bundleOf({ current, next, previous }: Authority): string {
  return [current.cert, next?.cert, previous]
    .filter((pem) => pem !== undefined)
    .map((pem) => `${pem.trim()}\n`)
    .join('');
}

export function authorityData(authority: Authority): Readonly<Record<string, string>> {
  const { current, next, previous } = authority;
  return {
    'tls.crt': current.cert,
    'tls.key': current.key,
    'ca.crt': bundleOf(authority),
    ...(next === undefined ? {} : { 'next.crt': next.cert, 'next.key': next.key }),
    ...(previous === undefined ? {} : { 'previous.crt': previous }),
  };
}

export function leafData(pair: KeyPair, authority: Authority): Readonly<Record<string, string>> {
  return { 'tls.crt': pair.cert, 'tls.key': pair.key, 'ca.crt': bundleOf(authority) };
}

/** `next` signs from now on; what signed before stays trusted. */
export function promoted({ current, next }: Authority): Authority {
  return next === undefined ? { current } : { current: next, previous: current.cert };
}

function usableAuthority(
  cert: string | undefined,
  key: string | undefined,
  nowMs: number,
): { readonly pair: KeyPair; readonly certificate: X509Certificate } | undefined {
  const pair = keyPairOf(cert, key);
  const certificate = pair === undefined ? undefined : certificateOf(pair.cert);
  if (pair === undefined || certificate === undefined || !certificate.ca) return undefined;
  const { fromMs, toMs } = lifetimeOf(certificate);
  return nowMs >= fromMs && nowMs < toMs ? { pair, certificate } : undefined;
}

function stillTrusted(cert: string | undefined, nowMs: number): string | undefined {
  const certificate = cert === undefined ? undefined : certificateOf(cert);
  return certificate?.ca === true && nowMs < lifetimeOf(certificate).toMs ? cert : undefined;
}

function hasExactly(certificate: X509Certificate, dnsNames: readonly string[]): boolean {
  const present = (certificate.subjectAltName ?? '').split(', ').toSorted();
  return (
    present.join() ===
    dnsNames
      .map((name) => `DNS:${name}`)
      .toSorted()
      .join()
  );
}

function isSame(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
