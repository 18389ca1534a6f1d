import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { annotations, containers, pullSecretsRole } from '../../../proto/names.ts';
import { createReadCredentials } from '../../../webhook/image-config/credentials.ts';
import { createKubeApi } from '../../../webhook/kube/api.ts';
import { detectNativeSidecars } from '../../../webhook/kube/server-version.ts';
import { createOwners, type Owners } from '../../../webhook/owners/owners.ts';
import { silentLog } from '../../fakes/silent-log.ts';
import { until } from '../operator/cluster.ts';
import { ApiServer } from './support/api-server.ts';
import { type RunningWebhook, startWebhook } from './support/webhook.ts';

interface Meta {
  readonly name: string;
  readonly uid: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
interface Pod {
  readonly metadata: Meta;
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly command?: readonly string[];
      readonly volumeMounts?: readonly { readonly mountPath: string }[];
    }[];
  };
}

const optedIn = { [annotations.enabled]: 'true' };
const roles = parseAllDocuments(readFileSync(new URL('../../../manifests/base/webhook.yaml', import.meta.url), 'utf8'))
  .map((one) => one.toJS() as { readonly kind: string; readonly metadata: { readonly name: string } })
  .filter(({ kind }) => kind === 'ClusterRole');

describe('pods at their creation, on a real API server', function () {
  this.timeout(60_000);
  const stopping = new AbortController();
  let api: ApiServer;
  let owners: Owners;
  let following: Promise<unknown> = Promise.resolve();
  let webhook: RunningWebhook;

  before(async function () {
    api = ApiServer.find() ?? this.skip();
    await api.createNamespace({ 'webhook-test': api.namespace });
    for (const name of ['hook', 'nobody']) await api.createServiceAccount(name);
    for (const role of roles) {
      await api.createClusterWide({ ...role, metadata: { name: `${api.namespace}-${role.metadata.name}` } });
    }
    await api.createClusterWide({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `${api.namespace}-hook` },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: `${api.namespace}-podferry-webhook`,
      },
      subjects: [{ kind: 'ServiceAccount', name: 'hook', namespace: api.namespace }],
    } as Parameters<ApiServer['createClusterWide']>[0]);
    owners = await follow('hook');
    await until('the owners are listed', async () => owners.hasSynced());
    webhook = await startWebhook(api, { annotationsOfOwner: (uid) => owners.annotationsOf(uid) });
  });
  after(async () => {
    stopping.abort();
    await following;
    await api?.remove();
    await webhook?.stop();
  });

  async function follow(serviceAccount: string): Promise<Owners> {
    const made = createOwners({
      api: createKubeApi(await api.accessAs(serviceAccount)),
      log: silentLog(),
      pauseMs: 50,
    });
    const before = following;
    const own = made.run(stopping.signal);
    following = Promise.all([before, own]);
    return made;
  }

  const create = async <T>(object: object, ...args: readonly string[]): Promise<T> =>
    api.json<T>(['create', '-f', '-', ...args], object);

  function pod(metadata: object, spec: object = {}): object {
    const container = { name: 'app', image: 'registry.example/app:1', command: ['/app'] };
    // The server of the test bed runs without the admission that sets it.
    const serviceAccountName = 'default';
    return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [container], serviceAccountName, ...spec } };
  }

  const ownedBy = (kind: string, apiVersion: string, { name, uid }: Meta) => [
    { apiVersion, kind, name, uid, controller: true },
  ];
  const isInjected = ({ spec }: Pod) => spec.containers.some(({ name }) => name === containers.agent);
  const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'app', image: 'i' }] } };

  it('a bare pod opts in by its own annotation', async () => {
    const made = await create<Pod>(pod({ generateName: 'bare-', annotations: optedIn }));
    expect(isInjected(made)).to.equal(true);
    expect(made.metadata.annotations).to.have.property(annotations.original).that.includes('"/app"');
    expect(made.spec.containers[0]).to.deep.include({ command: ['/.podferry/bin/sleep', 'infinity'] });
    expect(isInjected(await create<Pod>(pod({ generateName: 'bare-' })))).to.equal(false);
  });

  it('a pod without a service account is left alone: with the token of our agent the server would refuse it', async () => {
    const made = await create<Pod>(pod({ generateName: 'bare-', annotations: optedIn }, { serviceAccountName: '' }));
    expect(isInjected(made)).to.equal(false);
  });

  it('a pod that was injected already, as the target of a move is, is created as it is sent', async () => {
    const { metadata, spec } = await create<Pod>(pod({ generateName: 'bare-', annotations: optedIn }));
    const copy = await create<Pod>(pod({ name: 'target', annotations: metadata.annotations }, spec));
    expect(copy.spec).to.deep.equal(spec);
  });

  it('a StatefulSet opts in for pods that are created from then on', async () => {
    const spec = { serviceName: 'db', selector: { matchLabels: { app: 'x' } }, template };
    const made = await create<{ metadata: Meta }>({
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db' },
      spec,
    });
    const of = (name: string) => pod({ name, ownerReferences: ownedBy('StatefulSet', 'apps/v1', made.metadata) });
    expect(isInjected(await create<Pod>(of('db-0')))).to.equal(false);
    await api.kubectl(['annotate', 'statefulset', 'db', `${annotations.enabled}=true`]);
    await until('the watch has it', async () => annotations.enabled in owners.annotationsOf(made.metadata.uid));
    expect(isInjected(await create<Pod>(of('db-1')))).to.equal(true);
    // Its own word counts more.
    const refusing = pod({
      name: 'db-2',
      annotations: { [annotations.enabled]: 'false' },
      ownerReferences: ownedBy('StatefulSet', 'apps/v1', made.metadata),
    });
    expect(isInjected(await create<Pod>(refusing))).to.equal(false);
    await api.kubectl(['annotate', 'statefulset', 'db', `${annotations.enabled}-`]);
    await until(
      'the watch has that, too',
      async () => !(annotations.enabled in owners.annotationsOf(made.metadata.uid)),
    );
    expect(isInjected(await create<Pod>(of('db-3')))).to.equal(false);
  });

  it('a CronJob opts in for the pods of its Jobs', async () => {
    const jobSpec = { template: { spec: { ...template.spec, restartPolicy: 'Never' } } };
    const cronJob = await create<{ metadata: Meta }>({
      apiVersion: 'batch/v1beta1',
      kind: 'CronJob',
      metadata: { name: 'backup', annotations: optedIn },
      spec: { schedule: '0 0 1 1 *', jobTemplate: { spec: jobSpec } },
    });
    const job = await create<{ metadata: Meta }>({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'backup-1', ownerReferences: ownedBy('CronJob', 'batch/v1beta1', cronJob.metadata) },
      spec: jobSpec,
    });
    await until('the watch has it', async () => annotations.enabled in owners.annotationsOf(job.metadata.uid));
    const metadata = { generateName: 'backup-1-', ownerReferences: ownedBy('Job', 'batch/v1', job.metadata) };
    const made = await create<Pod>(pod(metadata, { restartPolicy: 'Never' }));
    expect(isInjected(made)).to.equal(true);
    expect(JSON.stringify(made.spec)).to.include('"PODFERRY_LEAVES_WITH","value":"Never"');
  });

  it('a pod of a ReplicaSet is never ours, whatever it carries', async () => {
    const owner = { name: 'web-1', uid: '5d0c5cf0-3d1a-4f0e-9c3e-1f2a3b4c5d6e' };
    const metadata = {
      generateName: 'web-',
      annotations: optedIn,
      ownerReferences: ownedBy('ReplicaSet', 'apps/v1', owner),
    };
    expect(isInjected(await create<Pod>(pod(metadata)))).to.equal(false);
  });

  it('a dry run shows what would be, and nothing comes of it (peer fault 2)', async () => {
    const shown = await create<Pod>(pod({ name: 'dry', annotations: optedIn }), '--dry-run=server');
    expect(isInjected(shown)).to.equal(true);
    expect((await api.run(['get', 'pod', 'dry'])).stderr).to.include('NotFound');
  });

  it('without rights the pod alone decides, and nothing waits', async () => {
    const blind = await follow('nobody');
    expect(blind.hasSynced()).to.equal(false);
    expect(blind.annotationsOf('any')).to.deep.equal({});
  });

  it('pull secrets are read where the namespace binds the role, and nowhere else', async () => {
    const auth = Buffer.from('shop:geheim').toString('base64');
    const config = { auths: { 'registry.example': { auth } } };
    await create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'registry' },
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': Buffer.from(JSON.stringify(config)).toString('base64') },
    });
    await api.createServiceAccount('puller', { imagePullSecrets: [{ name: 'registry' }] });
    const read = async (secrets: readonly string[], serviceAccount: string) => {
      const kube = createKubeApi(await api.accessAs('hook'));
      return createReadCredentials(kube, Date.now)(
        { namespace: api.namespace, secrets, serviceAccount },
        AbortSignal.timeout(5000),
      );
    };
    expect(await read(['registry'], 'default')).to.deep.equal({ all: [], isDenied: true });
    expect(await read([], 'puller')).to.deep.equal({ all: [], isDenied: true });
    await create({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'podferry' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: `${api.namespace}-${pullSecretsRole}`,
      },
      subjects: [{ kind: 'ServiceAccount', name: 'hook', namespace: api.namespace }],
    });
    const credential = { username: 'shop', password: 'geheim' };
    const found = { all: [{ host: 'registry.example', folder: '', credential }], isDenied: false };
    // The server's authorizer takes a moment to learn of it.
    await until('the right has come', async () => !(await read(['registry'], 'default')).isDenied);
    expect(await read(['registry'], 'default')).to.deep.equal(found);
    expect(await read([], 'puller')).to.deep.equal(found);
    expect(await read(['missing'], 'default')).to.deep.equal({ all: [], isDenied: false });
  });

  it('a server of 1.20 has no native sidecars', async () => {
    const kube = createKubeApi(await api.accessAs('hook'));
    expect(await detectNativeSidecars({ api: kube, log: silentLog() })).to.equal(false);
  });
});
