import { webcrypto } from 'node:crypto';

/** Hex SHA-256 of a buffer, computed in a thread of the pool: hashing 8 MiB here would hold everything else up for 5-10 ms. */
export async function digestInThread(bytes: Uint8Array): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex');
}
