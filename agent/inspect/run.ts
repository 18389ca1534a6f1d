import { PodferryError, assertNever, errorKinds } from '../../proto/errors.ts';
import { readHeader } from '../store/manifest-envelope.ts';
import { maxManifestBytes } from '../store/manifest.ts';
import type { Store } from '../store/store.ts';
import { exportCheckpoint, importCheckpoint } from './archive.ts';
import { extractCheckpoint } from './extract.ts';
import { readKeys, type KeyFor } from './keys.ts';
import { manifestKeys, openStore } from './open.ts';
import { parseOptions, usage, type Options } from './options.ts';
import type { Surroundings } from './surroundings.ts';
import { verifyCheckpoint } from './verify.ts';

type Say = (line: string) => void;

async function list(store: Store, prefix: string, say: Say, signal: AbortSignal): Promise<boolean> {
  let well = true;
  for (const key of await manifestKeys(store, prefix, signal)) {
    try {
      const { header } = readHeader(Buffer.from(await store.get(key, maxManifestBytes, signal)), key);
      say(`${key}  instance ${header.instance}  key ${header.keyId}`);
    } catch (error) {
      if (!(error instanceof PodferryError)) throw error;
      well = false;
      say(`${key}  ${error.code}: ${error.message}`);
    }
  }
  return well;
}

async function verify(
  store: Store,
  { subject, prefix }: { readonly subject: string | undefined; readonly prefix: string },
  keyFor: KeyFor,
  say: Say,
  signal: AbortSignal,
): Promise<boolean> {
  const keys = subject === undefined ? await manifestKeys(store, prefix, signal) : [subject];
  let well = true;
  for (const key of keys) {
    const findings = await verifyCheckpoint(store, key, keyFor, signal);
    well &&= findings.length === 0;
    say(`${key}  ${findings.length === 0 ? 'ok' : 'CORRUPT'}`);
    for (const { key: object, code, message } of findings) say(`  ${object}  ${code}: ${message}`);
  }
  return well;
}

async function perform(
  store: Store,
  options: Options,
  surroundings: Surroundings,
  say: Say,
  signal: AbortSignal,
): Promise<boolean> {
  const { command, subject = '', to = '' } = options;
  const prefix = options.prefix ?? (options.store === undefined ? surroundings.operators?.prefix : undefined) ?? '';
  const keyFor = await readKeys(options, surroundings);
  switch (command) {
    case 'list':
      return list(store, prefix, say, signal);
    case 'verify':
      return verify(store, { subject: options.subject, prefix }, keyFor, say, signal);
    case 'extract':
      await extractCheckpoint(store, subject, keyFor, to, signal);
      return true;
    case 'export':
      say(`${await exportCheckpoint(store, subject, keyFor, to, signal)} objects written to ${to}`);
      return true;
    case 'import':
      say(`${await importCheckpoint(store, subject, signal)} objects of ${subject} put back`);
      return true;
    default:
      return assertNever(command);
  }
}

/**
 * podferry-inspect without its process.
 * @param say gets each line of output
 * @returns the exit code
 */
export async function inspect(
  args: readonly string[],
  surroundings: Surroundings,
  say: Say,
  signal: AbortSignal,
): Promise<0 | 1 | 2> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof PodferryError)) throw error;
    say(`${error.message}\n\n${usage}`);
    return 2;
  }
  try {
    const { store, close } = openStore(options, surroundings);
    try {
      return (await perform(store, options, surroundings, say, signal)) ? 0 : 1;
    } finally {
      close();
    }
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    say(error instanceof PodferryError ? `${error.code}: ${said}\n${errorKinds[error.code].hint}` : said);
    return 1;
  }
}
