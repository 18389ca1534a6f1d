import { readFile } from 'node:fs/promises';
import { PodferryError } from '../../proto/errors.ts';
import { dataKeyOf, keyBytes } from '../../proto/keys.ts';
import type { Options } from './options.ts';
import type { Surroundings } from './surroundings.ts';

/** The data key of an instance, which a manifest's header names. */
export type KeyFor = (instance: string) => Buffer;

/**
 * The key in a key file: as it is, in hex digits, or in base64 as a Secret has it.
 * @throws PodferryError CONFIG_INVALID
 */
export function parseKey(content: Buffer): Buffer {
  if (content.byteLength === keyBytes) return content;
  const text = content.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/]{43}=$/.test(text)) return Buffer.from(text, 'base64');
  throw new PodferryError(
    'CONFIG_INVALID',
    `a key file holds ${keyBytes} bytes, or these as hex digits or base64; not ${content.byteLength} bytes`,
  );
}

/**
 * The keys that the options name.
 * @throws PodferryError CONFIG_INVALID when a key file cannot be read or holds no key; of the result, when there is none
 */
export async function readKeys(
  { dataKeyFile, masterKeyFile }: Pick<Options, 'dataKeyFile' | 'masterKeyFile'>,
  { readStdin }: Pick<Surroundings, 'readStdin'>,
): Promise<KeyFor> {
  const path = dataKeyFile ?? masterKeyFile;
  if (path === undefined) {
    return () => {
      throw new PodferryError('CONFIG_INVALID', 'a key is needed: --master-key-file or --data-key-file');
    };
  }
  const content = await (path === '-' ? readStdin() : readFile(path)).catch((error: unknown) => {
    const said = error instanceof Error ? error.message : String(error);
    throw new PodferryError('CONFIG_INVALID', `the key file cannot be read: ${said}`, {}, { cause: error });
  });
  const key = parseKey(content);
  return dataKeyFile === undefined ? (instance) => dataKeyOf(key, instance) : () => key;
}
