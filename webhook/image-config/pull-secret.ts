import { z } from 'zod';
import type { Endpoint } from './registries.ts';

export interface Credential {
  readonly username: string;
  readonly password: string;
}

/** Of one registry, or a part of it. */
export interface PullCredential {
  /** host[:port] with `*` for any one label, and optionally a folder: as the keys of a docker config. */
  readonly host: string;
  readonly folder: string;
  readonly credential: Credential;
}

const Entry = z.looseObject({
  username: z.string().optional(),
  password: z.string().optional(),
  auth: z.string().optional(),
});
const Entries = z.record(z.string(), Entry);
const formats = {
  '.dockerconfigjson': z.looseObject({ auths: Entries.default({}) }).transform(({ auths }) => auths),
  '.dockercfg': Entries,
} as const;

/** The credentials in a Secret's data (base64), of either of Kubernetes' two types; what cannot be read counts as none. */
export function credentialsIn(data: Readonly<Record<string, string>>): readonly PullCredential[] {
  return Object.entries(formats).flatMap(([key, format]) => {
    const text = data[key];
    const parsed = text === undefined ? undefined : format.safeParse(jsonIn(text));
    return Object.entries(parsed?.data ?? {}).flatMap(([place, entry]) => {
      const credential = credentialOf(entry);
      return credential === undefined ? [] : [{ ...placeOf(place), credential }];
    });
  });
}

function jsonIn(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function credentialOf({ username, password, auth }: z.infer<typeof Entry>): Credential | undefined {
  if (username !== undefined && password !== undefined) return { username, password };
  const text = Buffer.from(auth ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 1 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Keys are hosts, or URLs of an older API: `https://index.docker.io/v1/` is how Docker Hub is written to this day. */
function placeOf(key: string): { readonly host: string; readonly folder: string } {
  const [host = '', ...folders] = key.replace(/^https?:\/\//, '').split('/');
  const folder = folders.filter((one) => one !== '').join('/');
  const isHub = /^(?:index\.|registry-1\.)?docker\.io$/.test(host);
  return { host: isHub ? 'docker.io' : host, folder: /^v[12]$/.test(folder) ? '' : folder };
}

/**
 * The credentials to try at an endpoint, those of the narrowest folder first.
 * @see kubernetes pkg/credentialprovider/keyring.go: how keys match
 */
export function credentialsFor(
  { host, repository }: Pick<Endpoint, 'host' | 'repository'>,
  all: readonly PullCredential[],
): readonly Credential[] {
  return all
    .filter((one) => hostFits(one.host, host) && folderFits(one.folder, repository))
    .toSorted((a, b) => b.folder.length - a.folder.length)
    .map(({ credential }) => credential);
}

function hostFits(pattern: string, host: string): boolean {
  const [patterns, labels] = [pattern.split('.'), host.split('.')];
  return (
    patterns.length === labels.length &&
    patterns.every((one, index) => one === labels[index] || (one.includes('*') && globFits(one, labels[index] ?? '')))
  );
}

/** One `*` in a label stands for any text in it. */
function globFits(pattern: string, label: string): boolean {
  const [before = '', after = '', ...more] = pattern.split('*');
  const isLongEnough = label.length >= before.length + after.length;
  return more.length === 0 && isLongEnough && label.startsWith(before) && label.endsWith(after);
}

function folderFits(folder: string, repository: string): boolean {
  return folder === '' || repository === folder || repository.startsWith(`${folder}/`);
}
