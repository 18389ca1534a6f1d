import { z } from 'zod';
import type { KubeApi } from '../kube/api.ts';
import { statusOf } from '../kube/api.ts';
import { createBoundedMap } from './bounded-map.ts';
import { credentialsIn, type PullCredential } from './pull-secret.ts';

/** Whose pull secrets an image is pulled with. */
export interface PullSecretNames {
  readonly namespace: string;
  /** Of the pod; when there are none, those of its service account count. */
  readonly secrets: readonly string[];
  readonly serviceAccount: string;
}

export interface Credentials {
  readonly all: readonly PullCredential[];
  /** We were not allowed to look, so there may be more. */
  readonly isDenied: boolean;
}

/** Reads pull secrets by direct gets; what cannot be read counts as none. */
export type ReadCredentials = (names: PullSecretNames, signal: AbortSignal) => Promise<Credentials>;

const Secret = z.looseObject({ data: z.record(z.string(), z.string()).nullish() });
const ServiceAccount = z.looseObject({
  imagePullSecrets: z.array(z.looseObject({ name: z.string().optional() })).nullish(),
});

const keptMs = 30_000;
const mostKept = 500;
const mostSecrets = 16;

type Found = { readonly object: unknown } | 'denied' | 'missing';

/** What was read is kept for half a minute: a Deployment is applied more often than its secrets change. */
export function createReadCredentials(api: KubeApi, now: () => number): ReadCredentials {
  const kept = createBoundedMap<Found>(mostKept, now);

  async function read(namespace: string, kind: string, name: string, signal: AbortSignal): Promise<Found> {
    const path = ['/api/v1/namespaces', ...[namespace, kind, name].map(encodeURIComponent)].join('/');
    const before = kept.get(path);
    if (before !== undefined) return before;
    const found = await api.get({ path, signal }).then(
      (object): Found => ({ object }),
      (error: unknown): Found => {
        if (statusOf(error) === 403) return 'denied';
        if (statusOf(error) === 404) return 'missing';
        throw error;
      },
    );
    kept.set(path, found, keptMs);
    return found;
  }

  async function secretsOf({ namespace, secrets, serviceAccount }: PullSecretNames, signal: AbortSignal) {
    if (secrets.length > 0) return secrets;
    const found = await read(namespace, 'serviceaccounts', serviceAccount, signal);
    if (typeof found === 'string') return found;
    const names = ServiceAccount.safeParse(found.object).data?.imagePullSecrets ?? [];
    return names.flatMap(({ name }) => name ?? []);
  }

  return async (names, signal) => {
    const secrets = await secretsOf(names, signal);
    if (typeof secrets === 'string') return { all: [], isDenied: secrets === 'denied' };
    const found = await Promise.all(
      secrets.slice(0, mostSecrets).map((name) => read(names.namespace, 'secrets', name, signal)),
    );
    return {
      all: found.flatMap((one) =>
        typeof one === 'string' ? [] : credentialsIn(Secret.safeParse(one.object).data?.data ?? {}),
      ),
      isDenied: found.includes('denied'),
    };
  };
}

/** Where there is no API server to ask. */
export const noCredentials: ReadCredentials = () => Promise.resolve({ all: [], isDenied: false });
