import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { containers, podTemplateHash, servingGate, tokenAudience } from '../../../proto/names.ts';
import { createKubeClient, patchTypes, paths, pathTo, type KubeClient } from '../../../operator/kube/client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../../operator/kube/errors.ts';
import { conditionStatus, controllerOf, isTerminating, type Pod } from '../../../operator/kube/objects.ts';

const crdFolder = new URL('../../../manifests/base/crds/', import.meta.url);

/** The API server of the test bed; undefined, with the reason on the screen, when there is none. */
export function apiClient(): KubeClient | undefined {
  const file = process.env['KUBECONFIG_API'];
  if (file === undefined || file === '') {
    console.log('      skipped: KUBECONFIG_API is not set (hack/testbed/testbed.sh up --api-only; env --api-only)');
    return undefined;
  }
  const config = new KubeConfig();
  config.loadFromFile(file);
  return createKubeClient(config);
}

/** The client for a suite's tests, which are skipped where there is no API server. */
export function clientFor(context: Mocha.Context): KubeClient {
  return apiClient() ?? context.skip();
}

export async function until<T>(what: string, ask: () => Promise<T | undefined | false>, withinMs = 15_000): Promise<T> {
  const end = Date.now() + withinMs;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await delay(20);
  }
  throw new Error(`not within ${withinMs} ms: ${what}`);
}

/** Brings the custom resources to what this checkout says. */
export async function installCrd(client: KubeClient): Promise<void> {
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  for (const file of readdirSync(crdFolder)) {
    const body = parse(readFileSync(new URL(file, crdFolder), 'utf8')) as {
      readonly metadata: { readonly name: string };
    };
    const { name } = body.metadata;
    await client.call({
      method: 'PATCH',
      path: pathTo(crds, name),
      query: { fieldManager: 'podferry-tests', force: true },
      contentType: patchTypes.apply,
      body,
    });
    await until(`${name} is established`, async () => {
      const crd = (await client.call({ method: 'GET', path: pathTo(crds, name) })) as Pod;
      return conditionStatus(crd, 'Established') === 'True';
    });
  }
}

/**
 * The rest of a cluster around a real API server, in one namespace: nodes that are ready, a kubelet that starts and ends
 * pods and reports Ready by the readiness gate, and a ReplicaSet controller that adopts and removes.
 */
export class Cluster {
  readonly namespace = `op-${randomUUID().slice(0, 8)}`;
  readonly hash = this.namespace.slice(3);
  replicaSetUid = '';
  /** Nodes whose kubelet does nothing. */
  readonly deadNodes = new Set<string>();
  private readonly stopping = new AbortController();
  private loop: Promise<void> | undefined;

  constructor(readonly client: KubeClient) {}

  async start(): Promise<void> {
    const { client, namespace } = this;
    await client.call({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: namespace } } });
    const inNamespace = pathTo('/api/v1/namespaces', namespace);
    const body = { metadata: { name: 'default' }, automountServiceAccountToken: false };
    await client.call({ method: 'POST', path: `${inNamespace}/serviceaccounts`, body });
    for (const name of ['n1', 'n2']) await this.createNode(name);
    const replicaSet = (await client.call({
      method: 'POST',
      path: pathTo('/apis/apps/v1/namespaces', namespace, 'replicasets'),
      body: {
        metadata: {
          name: `web-${this.hash}`,
          labels: { app: 'web', [podTemplateHash]: this.hash },
          ownerReferences: [
            { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: randomUUID(), controller: true },
          ],
        },
        spec: {
          replicas: 1,
          selector: { matchLabels: { app: 'web', [podTemplateHash]: this.hash } },
          template: {
            metadata: { labels: { app: 'web', [podTemplateHash]: this.hash } },
            spec: { containers: [{ name: 'app', image: 'app' }] },
          },
        },
      },
    })) as Pod;
    this.replicaSetUid = replicaSet.metadata.uid;
    this.loop = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop;
    for (const { metadata } of await this.pods()) {
      await this.client.call({
        method: 'DELETE',
        path: paths.pod(this.namespace, metadata.name),
        query: { gracePeriodSeconds: 0 },
      });
    }
  }

  async pods(): Promise<readonly Pod[]> {
    const list = (await this.client.call({ method: 'GET', path: paths.podsIn(this.namespace) })) as { items: Pod[] };
    return list.items;
  }

  async get<T>(path: string): Promise<T | undefined> {
    try {
      return (await this.client.call({ method: 'GET', path })) as T;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** A pod as the injected Deployment would have it. */
  async createPod(
    name: string,
    annotations: Readonly<Record<string, string>>,
    spec: Readonly<Record<string, unknown>> = {},
    { isOwned = true }: { readonly isOwned?: boolean } = {},
  ): Promise<Pod> {
    const { client, namespace } = this;
    const owned = { labels: { app: 'web', [podTemplateHash]: this.hash }, ownerReferences: [this.owner()] };
    return (await client.call({
      method: 'POST',
      path: paths.podsIn(namespace),
      body: {
        metadata: {
          name,
          ...(isOwned ? owned : {}),
          annotations: {
            'migration.io/injected': '1',
            'migration.io/original': JSON.stringify({ container: 'app', command: ['app'] }),
            ...annotations,
          },
        },
        spec: {
          readinessGates: [{ conditionType: servingGate }],
          nodeName: 'n1',
          serviceAccountName: 'default', // the API server alone does not default it
          containers: [
            { name: 'app', image: 'app' },
            { name: containers.agent, image: 'agent' },
          ],
          ...spec,
        },
      },
    })) as Pod;
  }

  /** A token as the kubelet projects it into the pod. */
  async token(pod: { readonly name: string; readonly uid: string }, audience = tokenAudience): Promise<string> {
    const answer = (await this.client.call({
      method: 'POST',
      path: `${pathTo('/api/v1/namespaces', this.namespace, 'serviceaccounts', 'default')}/token`,
      body: {
        spec: { audiences: [audience], boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } },
      },
    })) as { readonly status: { readonly token: string } };
    return answer.status.token;
  }

  private owner(): Record<string, unknown> {
    const name = `web-${this.hash}`;
    return { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: this.replicaSetUid, controller: true };
  }

  /** A node of this test alone; to be removed by it. */
  async createCordonedNode(name: string): Promise<void> {
    const body = { metadata: { name }, spec: { unschedulable: true } };
    await this.client.call({ method: 'POST', path: paths.nodes, body });
  }

  private async createNode(name: string): Promise<void> {
    try {
      await this.client.call({ method: 'POST', path: paths.nodes, body: { metadata: { name } } });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const path = pathTo(paths.nodes, name);
    await this.patchStatus(path, { conditions: [{ type: 'Ready', status: 'True' }] });
    // as the node controller does: the taint that every new node is given goes once it is ready
    const body = { spec: { taints: null } };
    await this.client.call({ method: 'PATCH', path, contentType: patchTypes.merge, body });
  }

  private async patchStatus(path: string, status: unknown): Promise<void> {
    // as kubelets do: conditions of others stay
    await this.client.call({
      method: 'PATCH',
      path: `${path}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: { status },
    });
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      const pods = await this.pods();
      for (const pod of pods) {
        try {
          await this.tend(pod);
        } catch (error) {
          // gone or changed since it was listed: the next look sees it
          if (!isNotFound(error) && !isConflict(error)) throw error;
        }
      }
      await this.removeSurplus(pods);
      await delay(20);
    }
  }

  private async tend(pod: Pod): Promise<void> {
    const { client, namespace } = this;
    const path = paths.pod(namespace, pod.metadata.name);
    const { nodeName } = pod.spec;
    if (nodeName === undefined) {
      const body = { metadata: { name: pod.metadata.name }, target: { kind: 'Node', name: chosenNode(pod) } };
      await client.call({ method: 'POST', path: `${path}/binding`, body });
      return;
    }
    if (pod.metadata.labels?.[podTemplateHash] === this.hash && controllerOf(pod) === undefined) {
      const body = { metadata: { ownerReferences: [this.owner()] } };
      await client.call({ method: 'PATCH', path, contentType: patchTypes.merge, body });
    }
    if (this.deadNodes.has(nodeName)) return;
    if (isTerminating(pod)) {
      await client.call({ method: 'DELETE', path, query: { gracePeriodSeconds: 0 } });
      return;
    }
    const status = conditionStatus(pod, servingGate) === 'True' ? 'True' : 'False';
    if (conditionStatus(pod, 'Ready') === status) return;
    const containerStatuses = ['app', containers.agent].map((name) => ({
      name,
      ready: true,
      image: 'x',
      imageID: '',
      restartCount: 0,
      state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
    }));
    await this.patchStatus(path, { phase: 'Running', conditions: [{ type: 'Ready', status }], containerStatuses });
  }

  private async removeSurplus(pods: readonly Pod[]): Promise<void> {
    const own = pods.filter((pod) => controllerOf(pod)?.uid === this.replicaSetUid && !isTerminating(pod));
    if (own.length < 2) return;
    const surplus = own.find((pod) => conditionStatus(pod, 'Ready') !== 'True');
    if (surplus === undefined) throw new Error('two ready pods: the ReplicaSet might remove either');
    await this.client.call({ method: 'DELETE', path: paths.pod(this.namespace, surplus.metadata.name) });
  }
}

function chosenNode(pod: Pod): string {
  const text = JSON.stringify(pod.spec.affinity?.nodeAffinity ?? {});
  return text.includes('"NotIn","values":["n1"]') || text.includes('"In","values":["n2"]') ? 'n2' : 'n1';
}
