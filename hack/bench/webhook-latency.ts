import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';
import { createKubeClient, pathTo, type KubeClient } from '../../operator/kube/client.ts';
import { annotations } from '../../proto/names.ts';
import { until } from '../../test/e2e/support/until.ts';
import { deploymentsIn, dryRunCreate, isInjected } from '../admission/asking.ts';
import { chartDeployment, optedIn } from '../admission/deployment.ts';
import { openLoop } from '../admission/open-loop.ts';
import type { Result } from './report.ts';
import type { Bench } from './setting.ts';
import { summarize } from './statistics.ts';
import { startNoop, type ServerProcess } from './webhook-servers.ts';

const requestsPerSecond = 200;

/** Creates that the API server does not store, in turn in a namespace of our webhook and in one of the webhook that does nothing. */
export async function latency(
  { kubeconfig, say, undo }: Bench,
  ours: ServerProcess,
  seconds: number,
): Promise<readonly Result[]> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const client = createKubeClient(config);
  const create = await lightCreate(config);
  const noop = await startNoop();
  undo.add(noop.close);
  const id = `bench-${randomUUID().slice(0, 8)}`;
  const withNoop = await prepare(client, `${id}-noop`, noop);
  const withOurs = await prepare(client, `${id}-ours`, ours);
  const remove = async (): Promise<void> => {
    await withOurs.remove();
    await withNoop.remove();
  };
  undo.add(remove);
  try {
    say(`webhook: ${requestsPerSecond} creates a second for ${seconds} s`);
    await untilMet(client, withOurs.namespace);
    await askInTurn(create, [withOurs.namespace, withNoop.namespace], requestsPerSecond * 5);
    const pairs = await askInTurn(create, [withOurs.namespace, withNoop.namespace], requestsPerSecond * seconds);
    const [mine, theirs] = [pairs.map(([one]) => one), pairs.map(([, other]) => other)];
    const baseline = { case: 'no-op', p50: summarize(theirs).p50 };
    const name = `API server, ${requestsPerSecond}/s`;
    return [
      { case: name, metric: 'createMs', ...summarize(mine), baseline },
      { case: `${name}, no-op`, metric: 'createMs', ...summarize(theirs) },
      { case: name, metric: 'overNoopMs', ...summarize(pairs.map(([one, other]) => one - other)) },
    ];
  } finally {
    undo.delete(remove);
    await remove();
    undo.delete(noop.close);
    await noop.close();
  }
}

/** The API server hears of its configurations in the order in which they were made: the one of ours, made last, stands for both. */
async function untilMet(client: KubeClient, namespace: string): Promise<void> {
  const body = chartDeployment(namespace, 'orders', optedIn);
  await until('the webhook is asked', async () => isInjected(await dryRunCreate(client, namespace, body)));
}

type Create = (namespace: string, body: Buffer) => Promise<string>;

/** Creates without storing, with as little work of ours as can be: client and servers share the machine. */
async function lightCreate(config: KubeConfig): Promise<Create> {
  const options: https.RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const agent = new https.Agent({ keepAlive: true });
  const { server = '' } = config.getCurrentCluster() ?? {};
  return (namespace, body) =>
    new Promise((resolve, reject) => {
      const url = `${server}${deploymentsIn(namespace)}?dryRun=All`;
      const headers = { 'content-type': 'application/json', 'content-length': body.length };
      const request = https.request(url, { ...options, agent, method: 'POST', headers }, (response) => {
        text(response).then((answer) => {
          if (response.statusCode === 201) resolve(answer);
          else reject(new Error(`a create was answered ${response.statusCode}: ${answer.slice(0, 500)}`));
        }, reject);
      });
      request.on('error', reject);
      request.end(body);
    });
}

/** Even requests go to the first namespace, odd ones to the second. @returns the milliseconds of each two */
async function askInTurn(
  create: Create,
  namespaces: readonly [string, string],
  count: number,
): Promise<readonly (readonly [number, number])[]> {
  const took: number[] = [];
  const bodies = namespaces.map((namespace) =>
    Buffer.from(JSON.stringify(chartDeployment(namespace, 'orders', optedIn))),
  );
  await openLoop(
    requestsPerSecond,
    (n) => n < count,
    async (n) => {
      const which = n % 2;
      const beganMs = performance.now();
      const answer = await create(namespaces[which] ?? '', bodies[which] ?? Buffer.alloc(0));
      took[n] = performance.now() - beganMs;
      if (answer.includes(annotations.injected) !== (which === 0))
        throw new Error('a Deployment did not meet its webhook');
    },
  );
  return Array.from({ length: count / 2 }, (_, pair) => [took[2 * pair] ?? 0, took[2 * pair + 1] ?? 0] as const);
}

const configurations = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';

/** A namespace whose Deployments one webhook sees, configured as ours is in manifests/base. */
async function prepare(
  client: KubeClient,
  name: string,
  server: ServerProcess,
): Promise<{ readonly namespace: string; remove(): Promise<void> }> {
  const label = { 'podferry-bench': name };
  await client.call({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name, labels: label } } });
  const caBundle = Buffer.from(server.ca).toString('base64');
  const hook = {
    name: 'deployments.migration.io',
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    failurePolicy: 'Fail',
    // Longer than ours: what is slow shows in the figures.
    timeoutSeconds: 10,
    matchPolicy: 'Equivalent',
    reinvocationPolicy: 'IfNeeded',
    clientConfig: { url: `https://localhost:${server.port}/mutate`, caBundle },
    rules: [{ apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['deployments'] }],
    namespaceSelector: { matchLabels: label },
  };
  await client.call({ method: 'POST', path: configurations, body: { metadata: { name }, webhooks: [hook] } });
  return {
    namespace: name,
    async remove() {
      await client.call({ method: 'DELETE', path: pathTo(configurations, name) });
      await client.call({ method: 'DELETE', path: pathTo('/api/v1/namespaces', name) });
    },
  };
}
