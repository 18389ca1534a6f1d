import { z } from 'zod';
import { annotations, defaultsConfigMap } from '../../proto/names.ts';
import type { Clock } from '../clock.ts';
import { paths, pathTo, type KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import type { Pod } from '../kube/objects.ts';
import type { ConfigSource } from './resolve.ts';

const ConfigMap = z.object({ data: z.record(z.string(), z.string()).nullish() });

/** A change of a ConfigMap takes effect within this time. They are asked for, not watched: the right to watch would be one to read them all. */
export const keptMs = 30_000;

const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** The ConfigMaps that policies are read from. */
export interface Configs {
  /** The one that the pod names by annotation; undefined when it names none. @throws ApiError */
  ofPod(pod: Pod): Promise<ConfigSource | undefined>;
  /** The installation's; undefined when there is none. @throws ApiError */
  defaults(): Promise<ConfigSource | undefined>;
}

interface Kept {
  readonly atMs: number;
  readonly data: Promise<ConfigSource['data']>;
}

/** @param namespace of the operator */
export function createConfigs(client: KubeClient, clock: Clock, namespace: string): Configs {
  const kept = new Map<string, Kept>();

  async function read(path: string): Promise<ConfigSource['data']> {
    try {
      return ConfigMap.parse(await client.call({ method: 'GET', path })).data ?? {};
    } catch (error) {
      if (isNotFound(error)) return undefined;
      kept.delete(path);
      throw error;
    }
  }

  async function source(inNamespace: string, name: string): Promise<ConfigSource> {
    const path = pathTo(paths.configMapsIn(inNamespace), name);
    const nowMs = clock.now();
    for (const [each, { atMs }] of kept) if (nowMs - atMs >= keptMs) kept.delete(each);
    let known = kept.get(path);
    if (known === undefined) {
      known = { atMs: nowMs, data: read(path) };
      kept.set(path, known);
    }
    return { place: `ConfigMap ${inNamespace}/${name}`, data: await known.data };
  }

  return {
    async ofPod({ metadata }) {
      const name = metadata.annotations?.[annotations.config];
      const inNamespace = metadata.namespace ?? 'default';
      if (name === undefined) return undefined;
      if (!objectName.test(name)) return { place: `ConfigMap "${name.slice(0, 100)}"`, data: undefined };
      return source(inNamespace, name);
    },
    async defaults() {
      const found = await source(namespace, defaultsConfigMap);
      return found.data === undefined ? undefined : found;
    },
  };
}
