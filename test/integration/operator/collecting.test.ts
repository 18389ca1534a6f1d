import { expect } from 'chai';
import { systemClock } from '../../../operator/clock.ts';
import { usualTimes } from '../../../operator/collecting/collecting.ts';
import { createKeys } from '../../../operator/keys/keys.ts';
import { migrationPath } from '../../../operator/kube/apply.ts';
import { patchTypes, paths, type KubeClient } from '../../../operator/kube/client.ts';
import type { KubeObject, Pod } from '../../../operator/kube/objects.ts';
import { createOperator, type Operator } from '../../../operator/operator.ts';
import { openObjectStore, type ObjectStore } from '../../../operator/store/object-store.ts';
import { createLog } from '../../../proto/logging.ts';
import { apiVersion, annotations } from '../../../proto/names.ts';
import { instancePrefix, manifestKeyOf, markOf, packObject } from '../../../proto/store-layout.ts';
import { S3Server } from '../../fakes/s3-server.ts';

import { clientFor, Cluster, installCrd, until } from './cluster.ts';

const ttlSeconds = 60;
const longAgo = new Date('2020-01-01T00:00:00Z');
const uid = (n: number): string => `${String(n).repeat(8)}-1111-4111-8111-111111111111`;

describe('what instances that are gone have stored, with a real API server', function () {
  this.timeout(60_000);
  let client: KubeClient;
  let cluster: Cluster;
  let server: S3Server;
  let objects: ObjectStore;
  let operator: Operator | undefined;

  before(async function () {
    client = clientFor(this);
    await installCrd(client);
  });

  beforeEach(async () => {
    cluster = new Cluster(client);
    await cluster.start();
    server = await S3Server.start();
    const opened = openObjectStore(server.settings);
    if (opened === undefined) throw new Error('it is no folder');
    objects = opened;
  });
  afterEach(async () => {
    await operator?.stop();
    objects.close();
    server.close();
    await cluster.stop();
  });

  /** A checkpoint of an instance of this test's namespace. @returns the keys */
  function store(instance: string, modified = longAgo): readonly string[] {
    const workload = { kind: 'Deployment', name: 'web' };
    const keyPrefix = instancePrefix('p', { namespace: cluster.namespace, workload, instance });
    const manifest = manifestKeyOf({ keyPrefix, checkpoint: 'g1-abcdef01' });
    const keys = [manifest, packObject(keyPrefix, uid(8)), packObject(keyPrefix, uid(9)), markOf(keyPrefix)];
    for (const key of keys) server.objects.set(key, { body: Buffer.from('x'), modified });
    return keys;
  }

  /** Rounds follow one another until the condition holds. */
  async function collectUntil(what: string, holds: () => boolean): Promise<void> {
    const started = createOperator({
      client,
      clock: systemClock,
      log: createLog('operator', process.env['PODFERRY_TEST_LOG'] ?? 'error'),
      store: server.settings,
      objects,
      collecting: { ...usualTimes, firstMs: 1, everyMs: 20, goOnMs: 20 },
      prefix: 'p',
      retention: { count: 2, ttlSeconds, depth: 16 },
      keys: createKeys(Buffer.alloc(32, 1)),
    });
    operator = started;
    started.start();
    await until('caches are filled', async () => started.problems().length === 0);
    started.lead();
    await until(what, async () => holds());
  }

  it('goes; what has a pod, what a Migration under way names, what is young and what is not ours stays', async () => {
    // One pod alone: of two the ReplicaSet would remove one.
    const first = await cluster.createPod('first', { [annotations.instance]: uid(1) });
    const path = migrationPath(cluster.namespace);
    // It waits for the agent of its pod, which does not come.
    const spec = { podName: 'first', reason: `to make room for ${uid(2)}` };
    await client.call({
      method: 'POST',
      path,
      body: { apiVersion, kind: 'Migration', metadata: { name: 'move' }, spec },
    });
    const over = { apiVersion, kind: 'Migration', metadata: { name: 'over' }, spec: { podName: 'nobody' } };
    await client.call({ method: 'POST', path, body: over });
    const condition = { type: 'Succeeded', status: 'True', reason: 'Moved', message: 'moved' };
    const conditions = [{ ...condition, lastTransitionTime: '2026-01-01T00:00:00Z', observedGeneration: 1 }];
    await setStatus('over', { instance: uid(3), conditions });

    const moving = store(uid(2));
    const stays = [...store(first.metadata.uid), ...store(uid(1)), ...store(uid(4), new Date()), ...moving];
    const foreign = `p/${cluster.namespace}/notes.txt`;
    server.objects.set(foreign, { body: Buffer.from('x'), modified: longAgo });
    const goes = [...store(uid(3)), ...store(uid(5))];
    await collectUntil('what is gone has gone', () => !goes.some((key) => server.objects.has(key)));
    expect([...server.objects.keys()].toSorted()).to.deep.equal([...stays, foreign].toSorted());

    await client.call({ method: 'DELETE', path: migrationPath(cluster.namespace, 'move') });
    await until('without the Migration its instance goes', async () => !moving.some((key) => server.objects.has(key)));
  });

  it('stays as long as its last pod is there', async () => {
    const { metadata } = await cluster.createPod('only', {});
    const keys = store(metadata.uid);
    const canary = store(uid(5));
    await collectUntil('a round has been', () => !canary.some((key) => server.objects.has(key)));
    expect([...server.objects.keys()]).to.deep.equal(keys);
    const path = paths.pod(cluster.namespace, 'only');
    await client.call({ method: 'DELETE', path, query: { gracePeriodSeconds: 0 } });
    await until('the pod is gone', async () => (await cluster.get<Pod>(path)) === undefined);
    await until('and all it had', async () => server.objects.size === 0);
  });

  async function setStatus(name: string, status: unknown): Promise<void> {
    await client.call({
      method: 'PATCH',
      path: `${migrationPath(cluster.namespace, name)}/status`,
      contentType: patchTypes.merge,
      body: { status },
    });
    await until('the status is there', async () => {
      const seen = await cluster.get<KubeObject & { readonly status?: unknown }>(
        migrationPath(cluster.namespace, name),
      );
      return seen?.status !== undefined;
    });
  }
});
