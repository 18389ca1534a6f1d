import { logsBelow, type CheckpointPlace } from '../../proto/store-layout.ts';
import { invalid, maxManifestBytes, openManifest, sealEnvelope, type EnvelopeKind } from './manifest-envelope.ts';
import { sha256Hex } from './manifest.ts';
import type { Sealing } from './sealing.ts';
import type { Store } from './store.ts';

const kind: EnvelopeKind = { magic: Buffer.from('PODFELOG'), purpose: 'log', called: 'log of Podferry' };

/** `dump.log`, `target.json`, ... */
const logName = /^[a-z][a-z0-9.-]{0,63}$/;

/** What was said or measured during a move; not empty. */
export interface LogFile {
  readonly name: string;
  readonly content: Buffer;
}

/**
 * Puts a log beside its checkpoint. To be called when that is complete: what is of no checkpoint is garbage.
 * @throws PodferryError of the store
 */
export async function storeLog(
  store: Store,
  place: CheckpointPlace,
  file: LogFile,
  sealing: Sealing,
  signal: AbortSignal,
): Promise<void> {
  const body = sealLog(place.checkpoint, file, sealing);
  await store.put(logsBelow(place) + file.name, body, { sha256: sha256Hex(body), signal });
}

/** A log is sealed as a manifest is, under a key of its own, and bound to its checkpoint and name. */
export function sealLog(checkpoint: string, { name, content }: LogFile, sealing: Sealing): Buffer {
  return sealEnvelope(kind, { checkpoint, name }, content, sealing);
}

/** The keys of a checkpoint's logs, sorted. @throws PodferryError of the store */
export async function logKeys(store: Store, place: CheckpointPlace, signal: AbortSignal): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(logsBelow(place), signal)) keys.push(key);
  return keys.toSorted();
}

/**
 * Reads all logs of a checkpoint, in the order of their names.
 * @throws PodferryError MANIFEST_INVALID (a log of something else) | KEY_WRONG | OBJECT_CORRUPT | STORE_*
 */
export async function readLogs(
  store: Store,
  place: CheckpointPlace,
  sealing: Sealing,
  signal: AbortSignal,
): Promise<LogFile[]> {
  const logs: LogFile[] = [];
  for (const key of await logKeys(store, place, signal)) {
    const body = Buffer.from(await store.get(key, maxManifestBytes, signal));
    const { header, content } = openManifest(body, sealing, key, kind);
    const { checkpoint, name = '' } = header;
    if (checkpoint !== place.checkpoint || logsBelow(place) + name !== key || !logName.test(name)) {
      throw invalid(key, `it is ${name} of checkpoint ${checkpoint}`);
    }
    logs.push({ name, content });
  }
  return logs;
}
