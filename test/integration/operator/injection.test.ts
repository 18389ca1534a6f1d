import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import { chartDeployment, optedIn } from '../../../hack/admission/deployment.ts';
import { patienceMs, type Seen } from '../../../operator/injection/plan-injection.ts';
import { reconcileInjection } from '../../../operator/injection/reconcile-injection.ts';
import { paths, pathTo, type KubeClient } from '../../../operator/kube/client.ts';
import { createEvents } from '../../../operator/kube/events.ts';
import { createInformer, type Informer } from '../../../operator/kube/informer.ts';
import type { Deployment, KubeObject } from '../../../operator/kube/objects.ts';
import { annotations } from '../../../proto/names.ts';
import { createWebhookServer, type WebhookServer } from '../../../webhook/server.ts';
import { silentLog } from '../../fakes/silent-log.ts';
import { settings } from '../../unit/webhook/support/samples.ts';
import { clientFor, until } from './cluster.ts';

const configurations = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';

/** Deployments that were made before there was a webhook, and then the real one. */
describe('operator/injection with a real API server and the real webhook', function () {
  this.timeout(60_000);
  const namespace = `injection-${randomUUID().slice(0, 8)}`;
  let client: KubeClient;
  let deployments: Informer<Deployment> | undefined;
  let server: WebhookServer | undefined;
  let nowMs = Date.now();

  const read = async (name: string): Promise<Deployment> =>
    (await client.call({ method: 'GET', path: paths.deployment(namespace, name) })) as Deployment;
  const isInjected = ({ spec }: Deployment): boolean =>
    spec.template.metadata?.annotations?.[annotations.injected] !== undefined;
  const eventsOf = async (name: string): Promise<readonly string[]> => {
    const list = (await client.call({ method: 'GET', path: paths.eventsIn(namespace) })) as {
      readonly items: readonly (KubeObject & { readonly message: string; readonly involvedObject: { name: string } })[];
    };
    return list.items.filter(({ involvedObject }) => involvedObject.name === name).map(({ message }) => message);
  };

  /** The operator's look at a Deployment, again after a minute. */
  async function lookAfter(name: string, isRepairing: boolean): Promise<void> {
    if (deployments === undefined) throw new Error('not set up');
    const clock = { now: () => nowMs };
    const events = createEvents(client, clock, silentLog());
    const seen = new Map<string, Seen>();
    const deps = { client, clock, log: silentLog(), events, deployments, isRepairing, seen };
    await reconcileInjection(`${namespace}/${name}`, deps);
    nowMs += patienceMs;
    await reconcileInjection(`${namespace}/${name}`, deps);
    await reconcileInjection(`${namespace}/${name}`, deps);
  }

  async function create(name: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
    const body = chartDeployment(namespace, name, { ...optedIn, ...more });
    const path = paths.deploymentsIn(namespace);
    await client.call({ method: 'POST', path, body });
    await until('the cache has it', async () => deployments?.get(`${namespace}/${name}`));
  }

  before(async function () {
    client = clientFor(this);
    const label = { 'podferry-injection-test': namespace };
    const body = { metadata: { name: namespace, labels: label } };
    await client.call({ method: 'POST', path: '/api/v1/namespaces', body });
    const path = paths.deploymentsIn(namespace);
    deployments = createInformer<Deployment>({ client, path, clock: { now: Date.now }, onError: () => undefined });
    deployments.start();
    await create('missed');
    await create('told');
    await create('odd', { [annotations.container]: 'nobody' });
    await create('lost');

    const authority = await issueAuthority(Date.now());
    const leaf = await issueLeaf(['localhost'], authority, Date.now());
    server = createWebhookServer({ ...leaf, ca: authority.cert }, () => settings, silentLog());
    server.https.listen(0);
    await once(server.https, 'listening');
    const webhook = {
      name: 'deployments.migration.io',
      admissionReviewVersions: ['v1'],
      sideEffects: 'None',
      failurePolicy: 'Ignore',
      timeoutSeconds: 10,
      clientConfig: {
        url: `https://localhost:${server.port}/mutate`,
        caBundle: Buffer.from(authority.cert).toString('base64'),
      },
      rules: [
        { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['deployments'] },
      ],
      namespaceSelector: { matchLabels: label },
    };
    await client.call({
      method: 'POST',
      path: configurations,
      body: { metadata: { name: namespace }, webhooks: [webhook] },
    });
    const trial = chartDeployment(namespace, 'trial', optedIn);
    await until('the webhook is asked', async () =>
      isInjected((await client.call({ method: 'POST', path, query: { dryRun: 'All' }, body: trial })) as Deployment),
    );
  });
  after(async () => {
    if (server === undefined) return;
    await deployments?.stop();
    await server.close(0);
    await client.call({ method: 'DELETE', path: pathTo(configurations, namespace) });
    for (const name of ['missed', 'told', 'odd', 'lost']) {
      await client.call({ method: 'DELETE', path: paths.deployment(namespace, name) });
    }
    await client.call({ method: 'DELETE', path: pathTo('/api/v1/namespaces', namespace) });
  });

  it('tells of one that was missed, and leaves it alone', async () => {
    await lookAfter('told', false);
    expect(isInjected(await read('told'))).to.equal(false);
    const [message, ...others] = await eventsOf('told');
    expect(message).to.match(/^NOT_INJECTED: generation 1: /);
    expect(others).to.deep.equal([]);
  });

  it('has one that was missed injected, without a mark on its template but the injection', async () => {
    await lookAfter('missed', true);
    const repaired = await read('missed');
    expect(isInjected(repaired)).to.equal(true);
    expect(repaired.metadata.generation).to.equal(2);
    expect(repaired.spec.template.metadata?.annotations).to.not.have.property(annotations.reinject);
    expect(await eventsOf('missed')).to.deep.equal([]);
  });

  it("tells the webhook's reason when there is one, and changes nothing", async () => {
    await lookAfter('odd', true);
    const odd = await read('odd');
    expect(odd.metadata).to.include({ generation: 1 });
    expect(odd.metadata.annotations).to.not.have.property(annotations.reinject);
    const [message, ...others] = await eventsOf('odd');
    expect(message).to.match(/^CONTAINER_UNKNOWN: generation 1: no container nobody/);
    expect(others).to.deep.equal([]);
  });

  it('tells when the webhook is not asked at all', async () => {
    const label = { metadata: { labels: { 'podferry-injection-test': null } } };
    const contentType = 'application/merge-patch+json';
    const path = pathTo('/api/v1/namespaces', namespace);
    await client.call({ method: 'PATCH', path, contentType, body: label });
    const trial = chartDeployment(namespace, 'trial', optedIn);
    const all = paths.deploymentsIn(namespace);
    await until(
      'the webhook is asked no more',
      async () =>
        !isInjected(
          (await client.call({ method: 'POST', path: all, query: { dryRun: 'All' }, body: trial })) as Deployment,
        ),
    );
    await lookAfter('lost', true);
    expect(isInjected(await read('lost'))).to.equal(false);
    expect((await eventsOf('lost'))[0]).to.match(/^NOT_INJECTED: .*did not answer/);
  });
});
