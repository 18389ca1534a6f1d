import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { keyBytes } from '../../proto/keys.ts';
import { fieldManager, secrets } from '../../proto/names.ts';
import { paths, type KubeClient } from '../kube/client.ts';
import { isAlreadyExists, isNotFound, remedyFor } from '../kube/errors.ts';

const Secret = z.object({ data: z.object({ key: z.base64() }) });

const attempts = 8;
const firstRetryMs = 250;

/**
 * The master key, from its Secret; the first operator makes it. Whoever loses it loses every checkpoint: it is never
 * replaced, and a Secret that holds none is an error, not a reason to make a new one.
 * @throws ApiError; PodferryError CONFIG_INVALID when the Secret holds no key
 */
export async function readMasterKey(client: KubeClient, namespace: string): Promise<Buffer> {
  const path = paths.secretsIn(namespace);
  const read = async (): Promise<Buffer> =>
    keyOf(await client.call({ method: 'GET', path: `${path}/${secrets.masterKey}` }));
  try {
    return await read();
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const key = randomBytes(keyBytes);
  try {
    await client.call({
      method: 'POST',
      path,
      query: { fieldManager },
      body: {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: secrets.masterKey, namespace, labels: { 'app.kubernetes.io/part-of': 'podferry' } },
        type: 'Opaque',
        immutable: true,
        data: { key: key.toString('base64') },
      },
    });
    return key;
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return read(); // the other replica was first
  }
}

/** As readMasterKey, and tries again while the API server cannot be asked: the operator may start together with it. */
export async function awaitMasterKey(
  client: KubeClient,
  namespace: string,
  onRetry: (error: unknown) => void,
  signal: AbortSignal,
): Promise<Buffer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await readMasterKey(client, namespace);
    } catch (error) {
      if (attempt === attempts || remedyFor(error) === 'final') throw error;
      onRetry(error);
    }
    await delay(firstRetryMs * 2 ** (attempt - 1), undefined, { signal });
  }
}

function keyOf(secret: unknown): Buffer {
  const parsed = Secret.safeParse(secret);
  const key = Buffer.from(parsed.data?.data.key ?? '', 'base64');
  if (key.byteLength === keyBytes) return key;
  throw new PodferryError('CONFIG_INVALID', `Secret ${secrets.masterKey} holds no key of ${keyBytes} bytes`);
}
