import { createPrivateKey, X509Certificate } from 'node:crypto';

/** A certificate and its private key, as PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Half-open interval in milliseconds since the epoch. */
export interface Lifetime {
  readonly fromMs: number;
  readonly toMs: number;
}

/** @returns undefined when either is unreadable or they do not belong together */
export function keyPairOf(cert: string | undefined, key: string | undefined): KeyPair | undefined {
  if (cert === undefined || key === undefined) return undefined;
  const parsed = certificateOf(cert);
  if (parsed === undefined) return undefined;
  try {
    return parsed.checkPrivateKey(createPrivateKey(key)) ? { cert, key } : undefined;
  } catch {
    // Not a key: the caller makes a new pair, which is what "undefined" asks for.
    return undefined;
  }
}

/** @returns undefined when the text holds no PEM certificate */
export function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    // Not a certificate: the caller makes a new one, which is what "undefined" asks for.
    return undefined;
  }
}

export function lifetimeOf(certificate: X509Certificate): Lifetime {
  return { fromMs: Date.parse(certificate.validFrom), toMs: Date.parse(certificate.validTo) };
}

/** The instant at which a share of the life is over. */
export function after(share: number, { fromMs, toMs }: Lifetime): number {
  return fromMs + (toMs - fromMs) * share;
}
