import { patchTypes, pathTo, type KubeClient } from '../../operator/kube/client.ts';
import { annotations } from '../../proto/names.ts';

export const deploymentsIn = (namespace: string): string =>
  pathTo('/apis/apps/v1/namespaces', namespace, 'deployments');

interface Templated {
  readonly spec?: {
    readonly template?: { readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> } };
  };
}

/** Whether a Deployment, as the API server answers with it, went through the injection. */
export function isInjected(answer: unknown): boolean {
  return (answer as Templated).spec?.template?.metadata?.annotations?.[annotations.injected] !== undefined;
}

/** Passes admission as a create does, and is not stored. @returns the Deployment as it would be stored @throws ApiError */
export function dryRunCreate(client: KubeClient, namespace: string, body: object): Promise<unknown> {
  return client.call({ method: 'POST', path: deploymentsIn(namespace), query: { dryRun: 'All' }, body });
}

/** Creates it, and removes it again. @returns the Deployment as it was stored @throws ApiError */
export async function createAndRemove(
  client: KubeClient,
  namespace: string,
  name: string,
  body: object,
): Promise<unknown> {
  const stored = await client.call({ method: 'POST', path: deploymentsIn(namespace), body });
  await client.call({ method: 'DELETE', path: pathTo(deploymentsIn(namespace), name) });
  return stored;
}

/** Merge patch of an object. @throws ApiError */
export function mergePatch(client: KubeClient, path: string, body: object): Promise<unknown> {
  return client.call({ method: 'PATCH', path, contentType: patchTypes.merge, body });
}
