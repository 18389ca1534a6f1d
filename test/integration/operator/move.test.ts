import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type tls from 'node:tls';
import { expect } from 'chai';
import { createLog } from '../../../proto/logging.ts';
import {
  AppPhase,
  OrderKind,
  OrderStatus,
  type AgentState,
  type Hello,
  type Order,
} from '../../../proto/gen/agent/v1/agent.ts';
import type { Migration } from '../../../proto/migration.ts';
import { annotations, podTemplateHash, servingGate } from '../../../proto/names.ts';
import { systemClock } from '../../../operator/clock.ts';
import { createTlsServer, readKeyPair } from '../../../operator/hub/tls.ts';
import { migrationPath } from '../../../operator/kube/apply.ts';
import { patchTypes, paths, pathTo, type KubeClient } from '../../../operator/kube/client.ts';
import { conditionStatus, controllerOf, type Pod } from '../../../operator/kube/objects.ts';
import { createKeys } from '../../../operator/keys/keys.ts';
import { createOperator, type Operator } from '../../../operator/operator.ts';
import { makeCertificate, type TestCertificate } from '../../fakes/certificate.ts';
import { SimulatedAgent } from '../../fakes/simulated-agent.ts';
import { apiClient, clientFor, Cluster, installCrd, until } from './cluster.ts';

const keys = createKeys(Buffer.alloc(32, 1));
const retention = { count: 2, ttlSeconds: 3600, depth: 16 };
const serverName = 'podferry-operator.migration-system.svc';
const { ORDER_KIND_CHECKPOINT, ORDER_KIND_CONTINUE, ORDER_KIND_PREFLIGHT, ORDER_KIND_RESTORE } = OrderKind;
const { ORDER_KIND_RESUME, ORDER_KIND_RETIRE, ORDER_KIND_WARM, ORDER_KIND_PRECOPY } = OrderKind;

const sourceOrders = [ORDER_KIND_PREFLIGHT, ORDER_KIND_PRECOPY, ORDER_KIND_CHECKPOINT, ORDER_KIND_RETIRE];
const targetOrders = [ORDER_KIND_WARM, ORDER_KIND_RESTORE, ORDER_KIND_CONTINUE];

describe('operator with a real API server and simulated agents', function () {
  this.timeout(60_000);
  const log = createLog('operator', process.env['PODFERRY_TEST_LOG'] ?? 'error');
  let cluster: Cluster;
  let operator: Operator;
  let hub: tls.Server;
  let certificate: TestCertificate;
  let address: string;
  const agents: SimulatedAgent[] = [];
  /** What the operator has written, Events apart. */
  const writes: string[] = [];

  before(async function () {
    const client = clientFor(this);
    await installCrd(client);
    certificate = makeCertificate(serverName);
    hub = createTlsServer(await readKeyPair(certificate.dir), (socket) => operator.hub.accept(socket));
    hub.listen(0, '127.0.0.1');
    await once(hub, 'listening');
    address = `127.0.0.1:${(hub.address() as AddressInfo).port}`;
  });

  beforeEach(async () => {
    const client = apiClient();
    if (client === undefined) throw new Error('the API server is gone');
    cluster = new Cluster(client);
    await cluster.start();
    const store = {
      endpoint: '',
      region: 'r',
      bucket: 'b',
      accessKeyId: 'a',
      secretAccessKey: 's',
      forcePathStyle: true,
    };
    writes.length = 0;
    const watched: KubeClient = {
      call: async (call) => {
        if (call.method !== 'GET' && !call.path.endsWith('/events')) writes.push(`${call.method} ${call.path}`);
        return client.call(call);
      },
      watch: async (watching) => client.watch(watching),
    };
    operator = createOperator({ client: watched, clock: systemClock, log, store, prefix: 'p', retention, keys });
    operator.start();
    await until('caches are filled', async () => operator.problems().length === 0);
    operator.lead();
  });

  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.stop();
    await operator.stop();
    await cluster.stop();
  });

  after(() => {
    hub?.close();
  });

  async function startAgent(
    pod: Pod,
    phase: AppPhase,
    obey?: (order: Order, state: AgentState) => Partial<AgentState>,
    tookMs?: (order: Order) => number,
    hello?: Partial<Hello>,
  ): Promise<SimulatedAgent> {
    const { name, uid } = pod.metadata;
    const token = async (): Promise<string> => cluster.token({ name, uid });
    const agent = new SimulatedAgent({
      address,
      ca: certificate.pem,
      serverName,
      token,
      phase,
      ...(obey && { obey }),
      ...(tookMs && { tookMs }),
      ...(hello && { hello }),
    });
    agents.push(agent);
    await agent.connect();
    return agent;
  }

  async function startSource(
    obey?: (order: Order) => Partial<AgentState>,
    tookMs?: (order: Order) => number,
    spec: Readonly<Record<string, unknown>> = {},
  ): Promise<{ pod: Pod; agent: SimulatedAgent }> {
    const pod = await cluster.createPod('web-1', {}, spec);
    const agent = await startAgent(pod, AppPhase.APP_PHASE_RUNNING, obey, tookMs);
    await until('the source serves', async () => {
      const seen = await cluster.get<Pod>(paths.pod(cluster.namespace, 'web-1'));
      return seen !== undefined && conditionStatus(seen, 'Ready') === 'True';
    });
    return { pod, agent };
  }

  async function startTarget(
    obey?: (order: Order) => Partial<AgentState>,
    tookMs?: (order: Order) => number,
    hello?: Partial<Hello>,
  ): Promise<{ pod: Pod; agent: SimulatedAgent }> {
    const pod = await until('the target pod is there', async () =>
      (await cluster.pods()).find((each) => each.metadata.annotations?.[annotations.restore] !== undefined),
    );
    return { pod, agent: await startAgent(pod, AppPhase.APP_PHASE_WAITING, obey, tookMs, hello) };
  }

  async function createMigration(spec: Record<string, unknown> = {}, name = 'move'): Promise<void> {
    await cluster.client.call({
      method: 'POST',
      path: migrationPath(cluster.namespace),
      body: {
        apiVersion: 'migration.io/v1alpha1',
        kind: 'Migration',
        metadata: { name },
        spec: { podName: 'web-1', ...spec },
      },
    });
  }

  async function finished(name = 'move'): Promise<Migration> {
    return until(
      `Migration ${name} is finished`,
      async () => {
        const migration = await cluster.get<Migration>(migrationPath(cluster.namespace, name));
        const outcome = migration?.status?.conditions?.find((condition) => condition.type === 'Succeeded')?.status;
        const isTidy = (migration?.metadata.finalizers ?? []).length === 0;
        return (outcome === 'True' || outcome === 'False') && isTidy ? migration : undefined;
      },
      40_000,
    );
  }

  it('moves a pod that carries the trigger annotation', async () => {
    const source = await startSource();
    await cluster.client.call({
      method: 'PATCH',
      path: paths.pod(cluster.namespace, 'web-1'),
      contentType: patchTypes.merge,
      body: { metadata: { annotations: { [annotations.trigger]: 'requested', [annotations.reason]: 'because' } } },
    });
    const target = await startTarget();
    const [{ metadata }] = (
      (await cluster.client.call({ method: 'GET', path: migrationPath(cluster.namespace) })) as { items: [Migration] }
    ).items;
    const migration = await finished(metadata.name);

    expect(migration.status.phase).to.equal('Succeeded');
    expect(migration.spec.reason).to.equal('because');
    expect(migration.status.instance).to.equal(source.pod.metadata.uid);
    expect(migration.status.generation).to.equal(1);
    expect(migration.status.checkpoint?.pageBytes).to.equal(4_096);
    expect(migration.status.downtimeMs).to.be.greaterThan(0);
    expect(migration.status.timeline?.map((entry) => entry.step)).to.deep.equal([
      'Accepted',
      'TargetPrepared',
      'Warmed',
      'PreCopied',
      'Frozen',
      'Frozen.dump',
      'RestoredStopped',
      'Committed',
      'Verified',
      'CutOver',
      'Drained',
    ]);
    expect(source.agent.orders).to.deep.equal(sourceOrders);
    expect(target.agent.orders).to.deep.equal(targetOrders);
    expect(target.agent.welcome?.keyPrefix).to.equal(
      `p/${cluster.namespace}/deployment-web/${source.pod.metadata.uid}/`,
    );
    const [only, ...others] = await cluster.pods();
    expect(others).to.deep.equal([]);
    expect(only?.metadata.uid).to.equal(target.pod.metadata.uid);
    expect(only?.metadata.labels?.[podTemplateHash]).to.equal(cluster.hash);
    expect(only && controllerOf(only)?.uid).to.equal(cluster.replicaSetUid);
    expect(only && conditionStatus(only, servingGate)).to.equal('True');
    expect(only?.spec.hostname).to.equal('web-1');
    console.log(`      downtime ${migration.status.downtimeMs} ms, of which the API server's part is the commit`);
  });

  it('adds little to what the agents need', async () => {
    const freezeMs = 150;
    const restoreMs = 100;
    let before = 0;
    let written: readonly string[] = [];
    await startSource(undefined, ({ kind }) => {
      if (kind !== ORDER_KIND_CHECKPOINT) return 0;
      before = writes.length;
      return freezeMs;
    });
    await createMigration();
    await startTarget(
      ({ kind }) => {
        if (kind === ORDER_KIND_CONTINUE) written = writes.slice(before);
        return {};
      },
      ({ kind }) => (kind === ORDER_KIND_RESTORE ? restoreMs : 0),
    );
    const { status } = await finished();
    expect(status.phase).to.equal('Succeeded');
    // the checkpoint, written while the target restores it, and the commit; the pods' gates are nobody's to wait for
    const write = `PATCH ${migrationPath(cluster.namespace, 'move')}/status`;
    expect(written.filter((each) => !each.includes('/pods/'))).to.deep.equal([write, write]);
    const ownMs = (status.downtimeMs ?? 0) - freezeMs - restoreMs;
    console.log(`      downtime ${status.downtimeMs} ms; ${ownMs} ms of it are neither checkpoint nor restore`);
  });

  it('is over when the last page has come; the next move of the pod waits for that, the cutover does not', async () => {
    const source = await startSource();
    await createMigration();
    const target = await startTarget(({ kind }) => (kind === ORDER_KIND_RESTORE ? { draining: true } : {}));
    await until('the source is gone', async () => (await cluster.pods()).length === 1);
    expect(source.agent.orders).to.deep.equal(sourceOrders);
    const second = migrationPath(cluster.namespace, 'again');
    await createMigration({ podName: target.pod.metadata.name }, 'again');
    await until('the next move waits', async () => {
      const conditions = (await cluster.get<Migration>(second))?.status?.conditions;
      return conditions?.some(({ type, reason }) => type === 'Accepted' && reason === 'Draining');
    });
    const first = await cluster.get<Migration>(migrationPath(cluster.namespace, 'move'));
    expect(first?.status.phase).to.equal('Draining');
    target.agent.report({ draining: false });
    expect((await finished()).status.phase).to.equal('Succeeded');
    await until(
      'the next move begins',
      async () => (await cluster.get<Migration>(second))?.status.phase === 'Preparing',
    );
    await cluster.client.call({ method: 'DELETE', path: second });
    await until('and is cancelled', async () => (await cluster.get(second)) === undefined);
  });

  it('continues the source when the restore fails, and leaves no pod over', async () => {
    const source = await startSource();
    await createMigration();
    const target = await startTarget((order) =>
      order.kind === ORDER_KIND_RESTORE
        ? {
            phase: AppPhase.APP_PHASE_WAITING,
            status: OrderStatus.ORDER_STATUS_FAILED,
            failure: { code: 'OBJECT_CORRUPT', message: 'a pack is not what was stored' },
          }
        : {},
    );
    const { status } = await finished();
    expect(status.phase).to.equal('Failed');
    expect(status.failure?.code).to.equal('OBJECT_CORRUPT');
    expect(source.agent.state.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
    expect(source.agent.orders.at(-1)).to.equal(ORDER_KIND_RESUME);
    expect(target.agent.orders).to.deep.equal([ORDER_KIND_WARM, ORDER_KIND_RESTORE]);
    const left = await cluster.pods();
    expect(left.map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
    expect(left.map((pod) => conditionStatus(pod, servingGate))).to.deep.equal(['True']);
  });

  it('gives up when the target never starts, and removes it though its kubelet is dead', async () => {
    const source = await startSource();
    cluster.deadNodes.add('n2');
    await createMigration({ timeoutSeconds: 5, targetNode: 'n2' });
    const { status } = await finished();
    expect(status.failure?.code).to.equal('TARGET_NOT_READY');
    expect(source.agent.orders).to.deep.equal([ORDER_KIND_PREFLIGHT]);
    expect((await cluster.pods()).map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
  });

  it('continues the source when the agent of the target dies', async () => {
    const source = await startSource();
    await createMigration();
    const target = await startTarget((order) => {
      if (order.kind !== ORDER_KIND_RESTORE) return {};
      target.agent.stop();
      return { status: OrderStatus.ORDER_STATUS_WORKING };
    });
    const { status } = await finished();
    expect(status.failure?.code).to.equal('TARGET_LOST');
    expect(source.agent.state.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
    expect((await cluster.pods()).map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
  });

  it('tells every reason at once, of the pod, the node and the process, and makes no target', async () => {
    const { client, namespace } = cluster;
    const claim = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    await client.call({
      method: 'POST',
      path: pathTo('/api/v1/namespaces', namespace, 'persistentvolumeclaims'),
      body: claim,
    });
    const nodeName = `cordoned-${namespace}`;
    await cluster.createCordonedNode(nodeName);
    try {
      const findings = [{ code: 'GPU_IN_USE', message: 'process 7 (app) has /dev/nvidia0 (fd 3)' }];
      const source = await startSource(() => ({ preflight: ['GPU_IN_USE'], findings }), undefined, {
        volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
      });
      await createMigration({ targetNode: nodeName });
      const { status } = await finished();
      expect(status.failure?.code).to.equal('VOLUME_BOUND');
      const accepted = status.conditions?.find((condition) => condition.type === 'Accepted');
      expect(accepted?.reason).to.equal('VolumeBound');
      expect(accepted?.message)
        .to.include('3 reasons')
        .and.include('VOLUME_BOUND: volume data (claim data) is ReadWriteOnce')
        .and.include(`NODE_UNSUITABLE: node ${nodeName} is cordoned`)
        .and.include('GPU_IN_USE: process 7 (app) has /dev/nvidia0 (fd 3)');
      expect(source.agent.orders).to.deep.equal([ORDER_KIND_PREFLIGHT]);
      expect((await cluster.pods()).map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
    } finally {
      await client.call({ method: 'DELETE', path: pathTo(paths.nodes, nodeName) });
    }
  });

  it('never stops the source for a target whose CPU lacks what the process may use', async () => {
    const source = await startSource();
    await createMigration();
    await startTarget(undefined, undefined, { cpuFlags: ['sse2'], criuVersion: '4.2.0' });
    const { status } = await finished();
    expect(status.failure?.code).to.equal('CRIU_OLDER');
    expect(status.failure?.message).to.include("CPU_FEATURES_MISSING: the CPU of the target's node lacks avx");
    expect(source.agent.orders).to.deep.equal([ORDER_KIND_PREFLIGHT]);
    expect(source.agent.state.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
    expect((await cluster.pods()).map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
  });

  it('refuses a pod that does not exist, and leaves it at that', async () => {
    await createMigration({ podName: 'nobody' });
    const { status } = await finished();
    expect(status.failure?.code).to.equal('SOURCE_GONE');
    expect(status.conditions?.find((condition) => condition.type === 'Succeeded')?.reason).to.equal('SourceGone');
    expect(await cluster.pods()).to.deep.equal([]);
  });

  it('goes on where another operator left off', async () => {
    const source = await startSource();
    const client = cluster.client;
    await createMigration();
    const target = await startTarget((order) => {
      // the first operator ends between the restore and the commit
      if (order.kind === ORDER_KIND_RESTORE) void restart();
      return {};
    });
    async function restart(): Promise<void> {
      await operator.stop();
      const store = {
        endpoint: '',
        region: 'r',
        bucket: 'b',
        accessKeyId: 'a',
        secretAccessKey: 's',
        forcePathStyle: true,
      };
      operator = createOperator({ client, clock: systemClock, log, store, prefix: 'p', retention, keys });
      operator.start();
      await until('caches are filled', async () => operator.problems().length === 0);
      operator.lead();
    }
    const { status } = await finished();
    expect(status.phase).to.equal('Succeeded');
    expect(source.agent.orders).to.deep.equal(sourceOrders);
    expect(target.agent.orders).to.deep.equal(targetOrders);
  });

  it('cancels when the Migration is deleted before the commit', async () => {
    const source = await startSource((order) =>
      order.kind === ORDER_KIND_CHECKPOINT
        ? { phase: AppPhase.APP_PHASE_FROZEN, status: OrderStatus.ORDER_STATUS_WORKING }
        : {},
    );
    await createMigration();
    await startTarget();
    await until('the source is being stopped', async () => source.agent.orders.includes(ORDER_KIND_CHECKPOINT));
    await cluster.client.call({ method: 'DELETE', path: migrationPath(cluster.namespace, 'move') });
    await until('the Migration is gone', async () => {
      return (await cluster.get(migrationPath(cluster.namespace, 'move'))) === undefined;
    });
    expect(source.agent.state.phase).to.equal(AppPhase.APP_PHASE_RUNNING);
    expect((await cluster.pods()).map((pod) => pod.metadata.name)).to.deep.equal(['web-1']);
  });
});
