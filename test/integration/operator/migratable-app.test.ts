import { expect } from 'chai';
import type { Checkpoint } from '../../../proto/checkpoint.ts';
import type { MigratableApp, MigratableAppStatus } from '../../../proto/migratable-app.ts';
import { AppPhase, OrderKind, OrderStatus, type AgentState, type Order } from '../../../proto/gen/agent/v1/agent.ts';
import { annotations, finalizer } from '../../../proto/names.ts';
import { pathOf } from '../../../operator/kube/apply.ts';
import { patchTypes, paths, pathTo, type KubeClient } from '../../../operator/kube/client.ts';
import type { Deployment, Pod } from '../../../operator/kube/objects.ts';
import type { ObjectStore } from '../../../operator/store/object-store.ts';
import type { SimulatedAgent } from '../../fakes/simulated-agent.ts';
import { clientFor, installCrd, until } from './cluster.ts';
import { OperatorRig } from './rig.ts';

const { ORDER_KIND_PREFLIGHT, ORDER_KIND_PRECOPY, ORDER_KIND_CHECKPOINT, ORDER_KIND_RESUME } = OrderKind;
const { APP_PHASE_RUNNING, APP_PHASE_FROZEN, APP_PHASE_WAITING } = AppPhase;
const taking = [ORDER_KIND_PREFLIGHT, ORDER_KIND_PRECOPY, ORDER_KIND_CHECKPOINT];

describe('checkpoints and MigratableApps with a real API server', function () {
  this.timeout(90_000);
  let client: KubeClient;
  let rig: OperatorRig;
  const released: string[] = [];
  /** A store of which nothing matters but what is removed from it. */
  const objects: ObjectStore = {
    // oxlint-disable-next-line no-empty-function
    pages: async function* () {},
    delete: async (keys) => void released.push(...keys),
    close: () => undefined,
  };

  before(async function () {
    client = clientFor(this);
    await installCrd(client);
  });
  beforeEach(async () => {
    released.length = 0;
    rig = await OperatorRig.start(client, { objects });
  });
  afterEach(async () => {
    const { namespace } = rig.cluster;
    // whoever stays would hold its finalizer without an operator
    for (const { metadata } of await checkpoints()) await remove('Checkpoint', metadata.name);
    await until('the Checkpoints are gone', async () => (await checkpoints()).length === 0);
    await client.call({ method: 'DELETE', path: pathOf('MigratableApp', namespace) });
    await rig.stop();
  });

  async function create(
    kind: 'Checkpoint' | 'MigratableApp' | 'Migration',
    name: string,
    spec: unknown,
  ): Promise<void> {
    const body = { apiVersion: 'migration.io/v1alpha1', kind, metadata: { name }, spec };
    await client.call({ method: 'POST', path: pathOf(kind, rig.cluster.namespace), body });
  }

  async function remove(kind: 'Checkpoint' | 'MigratableApp', name: string): Promise<void> {
    await client.call({ method: 'DELETE', path: pathOf(kind, rig.cluster.namespace, name) });
  }

  async function checkpoints(): Promise<readonly Checkpoint[]> {
    const path = pathOf('Checkpoint', rig.cluster.namespace);
    return ((await client.call({ method: 'GET', path })) as { items: Checkpoint[] }).items;
  }

  async function ended(name: string): Promise<Checkpoint> {
    return until(`Checkpoint ${name} has ended`, async () => {
      const checkpoint = await rig.cluster.get<Checkpoint>(pathOf('Checkpoint', rig.cluster.namespace, name));
      const phase = checkpoint?.status?.phase;
      return phase === 'Completed' || phase === 'Failed' ? checkpoint : undefined;
    });
  }

  async function appStatus(name: string, fits: (status: MigratableAppStatus) => boolean): Promise<MigratableAppStatus> {
    let last: MigratableAppStatus | undefined;
    return until(
      `the status of MigratableApp ${name}`,
      async () => {
        last = (await rig.cluster.get<MigratableApp>(pathOf('MigratableApp', rig.cluster.namespace, name)))?.status;
        return last !== undefined && fits(last) ? last : undefined;
      },
      30_000,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`, { cause: error });
    });
  }

  async function startSource(
    more: Parameters<OperatorRig['startAgent']>[2] = {},
    marks: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly pod: Pod; readonly agent: SimulatedAgent }> {
    const pod = await rig.cluster.createPod('web-1', marks);
    return { pod, agent: await rig.startAgent(pod, APP_PHASE_RUNNING, more) };
  }

  it('takes a Checkpoint that a user asks for; deleting it releases what is stored', async () => {
    const { pod, agent } = await startSource();
    await create('Checkpoint', 'now', { podName: 'web-1' });
    const { status, metadata } = await ended('now');
    expect(status).to.deep.include({
      phase: 'Completed',
      instance: pod.metadata.uid,
      generation: 0,
      workload: { kind: 'Deployment', name: 'web' },
      source: { pod: 'web-1', uid: pod.metadata.uid, node: 'n1' },
      memoryBytes: 4_096,
      newBytes: 2_048,
      totalBytes: 3_072,
    });
    expect(agent.orders).to.deep.equal(taking);
    expect(agent.state.phase).to.equal(APP_PHASE_RUNNING);
    expect(metadata.finalizers).to.deep.equal([finalizer]);
    await remove('Checkpoint', 'now');
    await until('it is gone', async () => (await checkpoints()).length === 0);
    const keyPrefix = `p/${rig.cluster.namespace}/deployment-web/${pod.metadata.uid}/`;
    expect(released).to.deep.equal([`${keyPrefix}checkpoints/${status.id}/manifest`]);
  });

  it('removes the Checkpoint that storage holds no more', async () => {
    const { agent } = await startSource();
    await create('Checkpoint', 'old', { podName: 'web-1' });
    await ended('old');
    await create('Checkpoint', 'new', { podName: 'web-1' });
    const { status } = await ended('new');
    expect(await checkpoints()).to.have.length(2);
    agent.report({ stored: { ids: [status.id ?? '', 'another'] } });
    await until('only the new one is left', async () => {
      const [only, ...others] = await checkpoints();
      return others.length === 0 && only?.metadata.name === 'new';
    });
  });

  it('tells why one failed, and that the process runs on', async () => {
    const { agent } = await startSource({
      obey: ({ kind }) => (kind === ORDER_KIND_PREFLIGHT ? { preflight: ['GPU_IN_USE'] } : {}),
    });
    await create('Checkpoint', 'now', { podName: 'web-1' });
    const { status, metadata } = await ended('now');
    expect(status.failure?.code).to.equal('GPU_IN_USE');
    expect(agent.orders).to.deep.equal([ORDER_KIND_PREFLIGHT]);
    await until('it holds no finalizer', async () => {
      const left = await rig.cluster.get<Checkpoint>(pathOf('Checkpoint', rig.cluster.namespace, metadata.name));
      return (left?.metadata.finalizers ?? []).length === 0;
    });
  });

  it('a move wins over a checkpoint under way', async () => {
    const working = ({ kind, migrationUid }: Order, state: AgentState): Partial<AgentState> => {
      const isFirst = kind === ORDER_KIND_PRECOPY && state.migrationUid === migrationUid && !agentResumed();
      return isFirst ? { status: OrderStatus.ORDER_STATUS_WORKING } : {};
    };
    const agentResumed = (): boolean => agent.orders.includes(ORDER_KIND_RESUME);
    const { agent } = await startSource({ obey: working });
    await create('Checkpoint', 'now', { podName: 'web-1' });
    await until('it is copied ahead', async () => agent.orders.includes(ORDER_KIND_PRECOPY));
    await create('Migration', 'move', { podName: 'web-1' });
    const { status } = await ended('now');
    expect(status.failure?.code).to.equal('MIGRATION_CONFLICT');
    await until('the move has its turn', async () => agent.orders.length === 4);
    expect(agent.orders).to.deep.equal([
      ORDER_KIND_PREFLIGHT,
      ORDER_KIND_PRECOPY,
      ORDER_KIND_RESUME,
      ORDER_KIND_PREFLIGHT,
    ]);
    await client.call({ method: 'DELETE', path: pathOf('Migration', rig.cluster.namespace, 'move') });
  });

  it('one at a time on a node', async () => {
    let frozen = 0;
    let most = 0;
    const count = {
      tookMs: ({ kind }: Order) => {
        if (kind !== ORDER_KIND_CHECKPOINT) return 0;
        frozen += 1;
        most = Math.max(most, frozen);
        return 50;
      },
      obey: ({ kind }: Order) => {
        if (kind === ORDER_KIND_CHECKPOINT) frozen -= 1;
        return {};
      },
    };
    const names = ['one', 'two', 'three'];
    for (const name of names) {
      const pod = await rig.cluster.createPod(name, {}, {}, { isOwned: false });
      await rig.startAgent(pod, APP_PHASE_RUNNING, count);
    }
    await Promise.all(names.map((podName) => create('Checkpoint', podName, { podName })));
    for (const name of names) expect((await ended(name)).status.phase).to.equal('Completed');
    expect(most).to.equal(1);
  });

  it('takes checkpoints on the interval of the MigratableApp, and remembers moves when their Migrations are gone', async () => {
    const { namespace } = rig.cluster;
    await create('MigratableApp', 'policy', {
      targetRef: { kind: 'Deployment', name: 'web' },
      checkpointPolicy: { interval: '5s' },
    });
    const { pod } = await startSource();
    const first = await appStatus('policy', ({ checkpointStatus }) => (checkpointStatus?.count ?? 0) >= 1);
    expect(first.checkpointStatus).to.include({ count: 1, totalBytes: 2_048 });
    const last = first.checkpointStatus?.lastCheckpointName;
    await appStatus('policy', ({ checkpointStatus }) => checkpointStatus?.lastCheckpointName !== last);

    await client.call({
      method: 'PATCH',
      path: paths.pod(namespace, 'web-1'),
      contentType: patchTypes.merge,
      body: { metadata: { annotations: { [annotations.trigger]: 'requested', [annotations.reason]: 'because' } } },
    });
    const target = await until('the target pod is there', async () =>
      (await rig.cluster.pods()).find((each) => each.metadata.annotations?.[annotations.restore] !== undefined),
    );
    await rig.startAgent(target, APP_PHASE_WAITING);
    const { migrationHistory = [] } = await appStatus('policy', (status) => status.migrationHistory?.length === 1);
    expect(migrationHistory[0]).to.include({
      pod: 'web-1',
      from: 'n1',
      to: 'n2',
      outcome: 'Succeeded',
      reason: 'because',
    });
    expect(migrationHistory[0]?.downtimeMs).to.be.greaterThan(0);
    const ofMove = await until('the move has its Checkpoint', async () =>
      (await checkpoints()).find(
        ({ spec, status }) => spec.migrationName === migrationHistory[0]?.name && status?.id !== undefined,
      ),
    );
    expect(ofMove.status).to.include({ phase: 'Completed', instance: pod.metadata.uid, generation: 0 });
    await client.call({ method: 'DELETE', path: pathOf('Migration', namespace, migrationHistory[0]?.name ?? '') });
    await until('the next checkpoint is of the target', async () =>
      (await checkpoints()).some(({ status }) => status?.generation === 1 && status.phase === 'Completed'),
    );
    const after = await appStatus('policy', () => true);
    expect(after.migrationHistory).to.deep.equal(migrationHistory);
    expect(after.conditions?.map(({ type, status, reason }) => [type, status, reason])).to.deep.equal([
      ['PolicyValid', 'True', 'Valid'],
      ['WorkloadReady', 'False', 'NotFound'],
    ]);
  });

  it('runs the template of a MigratableApp as a Deployment of its own, and keeps it', async () => {
    const { namespace } = rig.cluster;
    const container = { name: 'app', image: 'app:1', command: ['app'], env: [{ name: 'EMPTY', value: '' }] };
    const template = { metadata: { annotations: { own: 'yes' } }, spec: { containers: [container] } };
    await create('MigratableApp', 'counter', { template, replicas: 2 });
    const path = pathTo(paths.deploymentsIn(namespace), 'counter');
    const made = await until('its Deployment is there', async () => rig.cluster.get<Deployment>(path));
    expect(made.metadata.annotations).to.include({ [annotations.enabled]: 'true' });
    expect(made.metadata.ownerReferences?.[0]).to.include({ kind: 'MigratableApp', name: 'counter', controller: true });
    expect(made.spec.replicas).to.equal(2);
    expect(JSON.stringify(made.spec.template)).to.contain('"own":"yes"').and.contain('"migration.io/app":"counter"');
    // nothing injects here
    await appStatus('counter', ({ conditions }) => conditions?.[1]?.reason === 'NotInjected');

    const change = { spec: { replicas: 3, template: { spec: { containers: [{ ...container, image: 'app:2' }] } } } };
    const app = pathOf('MigratableApp', namespace, 'counter');
    await client.call({ method: 'PATCH', path: app, contentType: patchTypes.merge, body: change });
    await until('the Deployment follows', async () => {
      const now = await rig.cluster.get<Deployment>(path);
      return now?.spec.replicas === 3 && JSON.stringify(now.spec.template).includes('app:2');
    });
    await client.call({ method: 'PATCH', path, contentType: patchTypes.merge, body: { spec: { replicas: 0 } } });
    await until('it is scaled back', async () => (await rig.cluster.get<Deployment>(path))?.spec.replicas === 3);

    await create('MigratableApp', 'another', { targetRef: { kind: 'Deployment', name: 'counter' } });
    await appStatus('another', ({ conditions }) => conditions?.[1]?.reason === 'TargetTaken');
    await client.call({ method: 'DELETE', path });
  });

  it('names a template that the API server refuses', async () => {
    await create('MigratableApp', 'broken', { template: { spec: { containers: [] } } });
    const { conditions } = await appStatus('broken', (status) => status.conditions?.[1]?.reason === 'Refused');
    expect(conditions?.[1]?.message).to.contain('containers');
  });

  for (const [why, spec] of [
    ['neither template nor targetRef', {}],
    ['both', { template: { spec: {} }, targetRef: { kind: 'Deployment', name: 'web' } }],
    ['replicas of somebody else', { replicas: 1, targetRef: { kind: 'Deployment', name: 'web' } }],
    [
      'an interval that is none',
      { targetRef: { kind: 'Deployment', name: 'web' }, checkpointPolicy: { interval: 'often' } },
    ],
  ] as const) {
    it(`the API server refuses a MigratableApp with ${why}`, async () => {
      const refused = await create('MigratableApp', 'wrong', spec).then(
        () => 'accepted',
        (error: unknown) => String(error),
      );
      expect(refused).to.contain('is invalid');
    });
  }

  it('a policy that means nothing is named on the pod, and nothing is taken', async () => {
    const { pod, agent } = await startSource({}, { [annotations.interval]: '1s' });
    const event = await until('the Event', async () => {
      const path = paths.eventsIn(rig.cluster.namespace);
      const { items } = (await client.call({ method: 'GET', path })) as {
        items: readonly {
          readonly reason: string;
          readonly message: string;
          readonly involvedObject: { uid: string };
        }[];
      };
      return items.find(
        ({ reason, involvedObject }) => reason === 'PolicyInvalid' && involvedObject.uid === pod.metadata.uid,
      );
    });
    expect(event.message).to.contain(`annotation ${annotations.interval}: "1s"`);
    expect(agent.orders).to.deep.equal([]);
    expect(agent.state.phase).to.not.equal(APP_PHASE_FROZEN);
  });
});
