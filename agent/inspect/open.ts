import { fileURLToPath } from 'node:url';
import { PodferryError } from '../../proto/errors.ts';
import type { Store as StoreSettings } from '../../proto/gen/agent/v1/agent.ts';
import { placeOfManifest } from '../../proto/store-layout.ts';
import { readHeader } from '../store/manifest-envelope.ts';
import { maxManifestBytes, type Manifest } from '../store/manifest.ts';
import { parseManifestAt } from '../store/read-manifest.ts';
import { openStore as openNamed } from '../store/open-store.ts';
import type { Sealing } from '../store/sealing.ts';
import type { Store } from '../store/store.ts';
import type { KeyFor } from './keys.ts';
import type { Options } from './options.ts';
import type { Surroundings } from './surroundings.ts';

/** @throws PodferryError CONFIG_INVALID */
export function openStore(
  options: Options,
  { credentials, operators }: Surroundings,
): { readonly store: Store; readonly close: () => void } {
  const { store: url, endpoint, region, pathStyle } = options;
  const opened = (settings: StoreSettings): { readonly store: Store; readonly close: () => void } => {
    const store = openNamed(settings);
    return { store, close: () => store.close() };
  };
  if (url === undefined) {
    if (operators === undefined) throw new PodferryError('CONFIG_INVALID', '--store is missing');
    return opened(operators.store);
  }
  const place = { endpoint, region, bucket: url.host, forcePathStyle: pathStyle, ...credentials };
  if (url.protocol === 'file:') return opened({ ...place, type: 'file', folder: fileURLToPath(url) });
  if (url.protocol === 's3:') return opened(place);
  if (url.protocol === 'gs:') return opened({ ...place, type: 'gcs' });
  throw new PodferryError('CONFIG_INVALID', `--store ${url.href}: only file:, s3: and gs: are known`);
}

export interface OpenedManifest {
  readonly manifest: Manifest;
  readonly sealing: Sealing;
  /** As it is stored. */
  readonly bytes: Buffer;
}

/**
 * Reads a manifest of whatever instance: whose it is, it says itself, and only that one's key opens it.
 * @throws PodferryError as parseManifest, and of the store and the key
 */
export async function openCheckpoint(
  store: Store,
  key: string,
  keyFor: KeyFor,
  signal: AbortSignal,
): Promise<OpenedManifest> {
  const bytes = Buffer.from(await store.get(key, maxManifestBytes, signal));
  const { header } = readHeader(bytes, key);
  const sealing = { instance: header.instance, id: header.keyId, key: keyFor(header.instance) };
  return { manifest: parseManifestAt(key, bytes, sealing), sealing, bytes };
}

/** The keys of all manifests below a prefix, sorted. */
export async function manifestKeys(store: Store, prefix: string, signal: AbortSignal): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, signal)) {
    if (placeOfManifest(key) !== undefined) keys.push(key);
  }
  return keys.toSorted();
}
