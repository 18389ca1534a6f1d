import { labels } from '../proto/names.ts';
import { patchTypes, paths, type KubeClient } from './kube/client.ts';

/**
 * Makes the hub's Service point to this pod and to no other: the label goes on our pod first, then off the others.
 * @throws ApiError
 */
export async function markLeader(client: KubeClient, namespace: string, podName: string): Promise<void> {
  await setLabel(client, namespace, podName, 'true');
  const marked = (await client.call({
    method: 'GET',
    path: paths.podsIn(namespace),
    query: { labelSelector: `${labels.leader}=true` },
  })) as { readonly items: readonly { readonly metadata: { readonly name: string } }[] };
  for (const { metadata } of marked.items) {
    if (metadata.name !== podName) await setLabel(client, namespace, metadata.name, null);
  }
}

/** Takes the mark off our pod: a container that was restarted does not lead. @throws ApiError */
export async function unmarkLeader(client: KubeClient, namespace: string, podName: string): Promise<void> {
  await setLabel(client, namespace, podName, null);
}

async function setLabel(client: KubeClient, namespace: string, podName: string, value: string | null): Promise<void> {
  await client.call({
    method: 'PATCH',
    path: paths.pod(namespace, podName),
    contentType: patchTypes.merge,
    body: { metadata: { labels: { [labels.leader]: value } } },
  });
}
