import tls from 'node:tls';
import { PodferryError } from '../../proto/errors.ts';

/**
 * TLS 1.3 with a pre-shared key and an ephemeral key exchange: who does not know the secret is refused in the handshake,
 * on either side, and no certificate plays a part. OpenSSL binds keys from callbacks to SHA-256, and so to this suite.
 */
const settings = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
} as const satisfies tls.SecureContextOptions;

const identity = 'podferry';
const secretBytes = 32;
const handshakeMs = 5_000;
/** The source, and once more when it connects again; others only try. */
const maxConnections = 8;

/** A server that does not listen yet. @throws PodferryError DIRECT_FAILED when the secret is none */
export function pskServer(secret: Uint8Array): tls.Server {
  checkSecret(secret);
  const server = tls.createServer({
    ...settings,
    handshakeTimeout: handshakeMs,
    pskCallback: (_socket, offered) => (offered === identity ? secret : null),
  });
  server.maxConnections = maxConnections;
  return server;
}

/** @throws PodferryError DIRECT_FAILED when nobody who knows the secret answers in time */
export async function pskConnect(
  host: string,
  port: number,
  secret: Uint8Array,
  withinMs: number,
): Promise<tls.TLSSocket> {
  checkSecret(secret);
  const socket = tls.connect({
    ...settings,
    host,
    port,
    pskCallback: () => ({ identity, psk: secret }),
    // there is no certificate: the key has proved who answers
    checkServerIdentity: () => undefined,
  });
  const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${withinMs} ms`)), withinMs);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed')));
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PodferryError(
      'DIRECT_FAILED',
      `connect to the agent at ${host}:${port}: ${why}`,
      { host, port },
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
  socket.setNoDelay(true);
  return socket;
}

function checkSecret(secret: Uint8Array): void {
  if (secret.byteLength === secretBytes) return;
  throw new PodferryError('DIRECT_FAILED', `the secret has ${secret.byteLength} bytes instead of ${secretBytes}`);
}
