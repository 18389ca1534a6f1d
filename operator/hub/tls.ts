import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import type { Socket } from 'node:net';

export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Reads tls.crt and tls.key of a mounted Secret. @throws the file system's error; a pair that does not fit is refused by TLS */
export async function readKeyPair(dir: string): Promise<KeyPair> {
  const [cert, key] = await Promise.all([readFile(join(dir, 'tls.crt')), readFile(join(dir, 'tls.key'))]);
  return { cert, key };
}

/**
 * A TLS server for HTTP/2 that hands each connection on after its handshake. It does not listen by itself.
 * grpc-js can take a certificate only once, so TLS ends here, where `setSecureContext` replaces it for new connections.
 */
export function createTlsServer(pair: KeyPair, accept: (socket: Socket) => void): tls.Server {
  const server = tls.createServer({
    ...pair,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
    handshakeTimeout: 5_000,
  });
  server.maxConnections = 20_000;
  server.on('secureConnection', accept);
  return server;
}

/**
 * Looks at the files again and again until aborted, and gives a changed pair to the server; connections that are open
 * stay. A pair that cannot be used is told to `onError` and the former one stays in use.
 */
export async function keepCertificate(options: {
  readonly dir: string;
  readonly inUse: KeyPair;
  readonly server: tls.Server;
  readonly everyMs: number;
  readonly signal: AbortSignal;
  readonly onChange: () => void;
  readonly onError: (error: unknown) => void;
}): Promise<void> {
  let { inUse } = options;
  while (await waited(options.everyMs, options.signal)) {
    try {
      const pair = await readKeyPair(options.dir);
      if (pair.cert.equals(inUse.cert) && pair.key.equals(inUse.key)) continue;
      options.server.setSecureContext(pair);
      inUse = pair;
      options.onChange();
    } catch (error) {
      options.onError(error);
    }
  }
}

/** True after the time, false when aborted. */
async function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}
