import { parseArgs } from 'node:util';
import { PodferryError } from '../../proto/errors.ts';

export const usage = `podferry-inspect: looks into checkpoints

  list              names every checkpoint below --prefix; needs no key
  verify  MANIFEST  opens a checkpoint's manifest and every frame it names; without MANIFEST all below --prefix
  extract MANIFEST  writes its manifest, CRIU's images, pages, files and logs into the folder --to
  export  MANIFEST  writes its objects, sealed as they are, into the one file --to
  import  FILE      puts the objects of such a file back, the manifest last

  --store URL               file:///folder, s3://bucket or gs://bucket; by default, in the operator's container, the operator's
  --prefix KEYS             what keys begin with; by default the operator's, or nothing
  --master-key-file FILE    the key in the Secret podferry-master-key, of which the key of each instance follows
  --data-key-file FILE      or the data key of one instance
  --to PATH
  --endpoint URL, --region NAME, --path-style   of a bucket, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment

A key file holds 32 bytes, or these as hex digits or base64; - is standard input.

MANIFEST is an object key, as list shows it. Exit code: 0 well, 1 something is wrong, 2 wrong usage.
`;

const names = ['list', 'verify', 'extract', 'export', 'import'] as const;

export interface Options {
  readonly command: (typeof names)[number];
  /** A manifest's key, or import's file. */
  readonly subject: string | undefined;
  /** Undefined: the operator's. */
  readonly store: URL | undefined;
  /** Undefined: the operator's, or none. */
  readonly prefix: string | undefined;
  readonly dataKeyFile: string | undefined;
  readonly masterKeyFile: string | undefined;
  readonly to: string | undefined;
  readonly endpoint: string;
  readonly region: string;
  readonly pathStyle: boolean;
}

const wrong = (why: string, cause?: unknown): PodferryError =>
  new PodferryError('CONFIG_INVALID', why, {}, cause === undefined ? undefined : { cause });

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        store: { type: 'string' },
        prefix: { type: 'string' },
        'data-key-file': { type: 'string' },
        'master-key-file': { type: 'string' },
        to: { type: 'string' },
        endpoint: { type: 'string', default: '' },
        region: { type: 'string', default: 'us-east-1' },
        'path-style': { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error), error);
  }
}

/** @throws PodferryError CONFIG_INVALID */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parse(args);
  const [name, subject, ...rest] = positionals;
  const command = names.find((known) => known === name);
  if (command === undefined) throw wrong(name === undefined ? 'a command is missing' : `there is no command ${name}`);
  if (rest.length > 0) throw wrong(`${command} has no use for ${rest.join(' ')}`);
  if (values.store !== undefined && !URL.canParse(values.store)) throw wrong(`--store ${values.store} is no URL`);
  const needs = {
    subject: command !== 'list' && command !== 'verify',
    key: command === 'verify' || command === 'extract' || command === 'export',
    to: command === 'extract' || command === 'export',
  };
  if (needs.subject && subject === undefined) throw wrong(`${command} of what?`);
  const { 'data-key-file': dataKeyFile, 'master-key-file': masterKeyFile } = values;
  if (dataKeyFile !== undefined && masterKeyFile !== undefined) throw wrong('one of the two key files is enough');
  if (needs.key && (dataKeyFile ?? masterKeyFile) === undefined) throw wrong(`${command} needs --master-key-file`);
  if (needs.to && values.to === undefined) throw wrong(`${command} needs --to`);
  return {
    command,
    subject,
    store: values.store === undefined ? undefined : new URL(values.store),
    prefix: values.prefix,
    dataKeyFile,
    masterKeyFile,
    to: values.to,
    endpoint: values.endpoint,
    region: values.region,
    pathStyle: values['path-style'],
  };
}
