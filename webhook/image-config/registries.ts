import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { parse } from 'yaml';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import type { Reference } from './reference.ts';

const Registry = z.strictObject({
  /** Asked before the registry itself, in this order: host[:port][/folder]. */
  mirrors: z
    .array(
      z.string().regex(/^(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?(?:\/[\w.-]+)*\/?$/, 'is no host[:port][/folder]'),
    )
    .default([]),
  /** Plain http. Without it a registry is only spoken to over TLS. */
  insecure: z.boolean().default(false),
  /** PEM of CA certificates that are trusted for this registry, besides the public ones. */
  ca: z.string().includes('BEGIN CERTIFICATE').optional(),
});

/** By host[:port] as images name it. */
export type Registries = Readonly<Record<string, z.infer<typeof Registry>>>;

/** One place where an image may be had. */
export interface Endpoint {
  /** host or host:port; credentials are looked up by it. */
  readonly host: string;
  /** Without a slash at its end. */
  readonly origin: string;
  readonly repository: string;
  /** CA certificates as PEM; undefined: the public ones alone. */
  readonly ca: readonly string[] | undefined;
}

/** Docker Hub's name is not its address. */
const addresses: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };

/**
 * Reads the file of registries; no file means none with settings of its own.
 * @throws PodferryError CONFIG_INVALID
 */
export async function readRegistries(file: string): Promise<Registries> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw new PodferryError('CONFIG_INVALID', `the registries in ${file} cannot be read`, {}, { cause: error });
  }
  return parseRegistries(text, file);
}

/** @throws PodferryError CONFIG_INVALID */
export function parseRegistries(text: string, file: string): Registries {
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (cause) {
    throw new PodferryError('CONFIG_INVALID', `the registries in ${file} are no YAML`, {}, { cause });
  }
  const parsed = z.record(z.string(), Registry).safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const message = `the registries in ${file}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  throw new PodferryError('CONFIG_INVALID', message);
}

/** Where to ask for an image: its mirrors, then its registry. */
export function endpointsOf({ registry, repository }: Reference, registries: Registries): readonly Endpoint[] {
  const mirrors = (registries[registry]?.mirrors ?? []).map((mirror) => {
    const [host = '', ...folders] = mirror.split('/');
    return endpoint(host, [...folders.filter((folder) => folder !== ''), repository].join('/'), registries);
  });
  return [...mirrors, endpoint(registry, repository, registries)];
}

/** Whether a host may be spoken to over plain http. */
export function isInsecure(host: string, registries: Registries): boolean {
  return registries[host]?.insecure === true;
}

function endpoint(host: string, repository: string, registries: Registries): Endpoint {
  const own = registries[host]?.ca;
  return {
    host,
    origin: `${isInsecure(host, registries) ? 'http' : 'https'}://${addresses[host] ?? host}`,
    repository,
    ca: own === undefined ? undefined : [...rootCertificates, own],
  };
}
