import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PodferryError } from '../proto/errors.ts';
import { errorFields, type Log } from '../proto/logging.ts';

/** What a mounted Secret holds, as PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** Of the CA that signs the operator's certificate; agents are given it. */
  readonly ca: string;
}

/**
 * Reads tls.crt, tls.key and ca.crt of a directory. A mounted Secret can be replaced between two reads, so a key that
 * does not belong to its certificate is refused.
 * @throws PodferryError CONFIG_INVALID
 */
export async function readCertificate(directory: string): Promise<Certificate> {
  const [cert, key, ca] = await Promise.all(['tls.crt', 'tls.key', 'ca.crt'].map((file) => readText(directory, file)));
  if (cert === undefined || key === undefined || ca === undefined) throw new PodferryError('INTERNAL', 'three files');
  try {
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
      throw new PodferryError('CONFIG_INVALID', `tls.key in ${directory} does not belong to tls.crt`);
    }
    for (const one of ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? ['']) {
      // Parsed for its exception only: agents must not be given what they cannot read.
      void new X509Certificate(one).subject;
    }
  } catch (cause) {
    if (cause instanceof PodferryError) throw cause;
    throw new PodferryError('CONFIG_INVALID', `a file in ${directory} holds no PEM certificate or key`, {}, { cause });
  }
  return { cert, key, ca };
}

async function readText(directory: string, file: string): Promise<string> {
  try {
    return await readFile(join(directory, file), 'utf8');
  } catch (cause) {
    throw new PodferryError('CONFIG_INVALID', `cannot read ${file} in ${directory}`, {}, { cause });
  }
}

/**
 * Calls back with each new certificate until the signal ends it. What cannot be used yet is reported once, and looked at
 * again; the old certificate stays in use. Polls, because a mounted Secret changes by a renamed symbolic link.
 */
export async function watchCertificate(
  directory: string,
  current: Certificate,
  { everyMs, signal, log }: { readonly everyMs: number; readonly signal: AbortSignal; readonly log: Log },
  onChange: (certificate: Certificate) => void,
): Promise<void> {
  let known = current;
  let reported: string | undefined;
  while (await pause(everyMs, signal)) {
    try {
      const found = await readCertificate(directory);
      reported = undefined;
      if (found.cert === known.cert && found.key === known.key && found.ca === known.ca) continue;
      onChange(found);
      known = found;
      const { validTo } = new X509Certificate(found.cert);
      log.info('certificate reloaded', { validTo });
    } catch (error) {
      const fields = errorFields(error);
      if (reported !== fields['error']) log.warn('certificate not usable, keeping the old one', fields);
      reported = String(fields['error']);
    }
  }
}

/** @returns false when the signal ended the wait */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal, ref: false });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
