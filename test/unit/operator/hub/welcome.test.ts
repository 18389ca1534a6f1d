import { expect } from 'chai';
import { PodferryError } from '../../../../proto/errors.ts';
import { annotations } from '../../../../proto/names.ts';
import { createKeys } from '../../../../operator/keys/keys.ts';
import { welcomeFor } from '../../../../operator/hub/welcome.ts';
import type { KubeObject, Pod, ReplicaSet } from '../../../../operator/kube/objects.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { pod, replicaSet, sourceUid, target } from '../../../fakes/operator-objects.ts';

const keys = createKeys(Buffer.alloc(32, 1));
const retention = { count: 2, ttlSeconds: 60, depth: 3 };
const store = { endpoint: '', region: '', bucket: 'b', accessKeyId: '', secretAccessKey: '', forcePathStyle: false };
const { ownerReferences: _, ...ownerless } = replicaSet().metadata;

async function keyPrefix(
  of: Pod,
  replicaSets: readonly ReplicaSet[],
  prefix = 'pre/fix',
  jobs: readonly KubeObject[] = [],
): Promise<string | undefined> {
  const cache = <T extends KubeObject>(
    items: readonly T[],
  ): { byUid: (uid: string) => T | undefined; get: () => undefined; list: () => readonly T[] } => ({
    byUid: (uid) => items.find((item) => item.metadata.uid === uid),
    get: () => undefined,
    list: () => items,
  });
  const welcome = await welcomeFor(of.metadata.uid, {
    pods: cache([of]),
    replicaSets: cache(replicaSets),
    jobs: cache(jobs),
    store,
    prefix,
    retention,
    keys,
  });
  return welcome?.keyPrefix;
}

describe('operator/hub/welcome', () => {
  const bare = pod({ metadata: { ownerReferences: [] } });
  const ownedBy = (apiVersion: string, kind: string, name: string): Pod =>
    pod({ metadata: { ownerReferences: [{ apiVersion, kind, name, uid: `${kind}-${name}`, controller: true }] } });
  const job = (name: string, cronJob?: string): KubeObject => ({
    metadata: {
      ...bare.metadata,
      name,
      uid: `Job-${name}`,
      ownerReferences:
        cronJob === undefined
          ? []
          : [{ apiVersion: 'batch/v1', kind: 'CronJob', name: cronJob, uid: 'c', controller: true }],
    },
  });
  const cases: readonly {
    readonly name: string;
    readonly pod: Pod;
    readonly sets?: readonly ReplicaSet[];
    readonly jobs?: readonly KubeObject[];
    readonly key: string | undefined;
  }[] = [
    {
      name: 'a pod of a Deployment',
      pod: pod(),
      sets: [replicaSet()],
      key: `pre/fix/default/deployment-web/${sourceUid}/`,
    },
    {
      name: 'its target, owned by nobody yet',
      pod: target(),
      sets: [replicaSet()],
      key: `pre/fix/default/deployment-web/${sourceUid}/`,
    },
    { name: 'a ReplicaSet that is not known yet', pod: pod(), sets: [], key: undefined },
    {
      name: 'a ReplicaSet of its own',
      pod: pod(),
      sets: [{ ...replicaSet(), metadata: ownerless }],
      key: `pre/fix/default/replicaset-web-5d4f8/${sourceUid}/`,
    },
    {
      name: 'a pod of a StatefulSet',
      pod: ownedBy('apps/v1', 'StatefulSet', 'db'),
      key: `pre/fix/default/statefulset-db/${sourceUid}/`,
    },
    {
      name: 'a pod of a Job',
      pod: ownedBy('batch/v1', 'Job', 'sum'),
      jobs: [job('sum')],
      key: `pre/fix/default/job-sum/${sourceUid}/`,
    },
    {
      name: "a pod of a CronJob's Job: each run the same workload",
      pod: ownedBy('batch/v1', 'Job', 'backup-28391040'),
      jobs: [job('backup-28391040', 'backup')],
      key: `pre/fix/default/cronjob-backup/${sourceUid}/`,
    },
    {
      name: 'a Job that is not known yet',
      pod: ownedBy('batch/v1', 'Job', 'sum'),
      jobs: [job('other')],
      key: undefined,
    },
    {
      name: "a Job of another group, which is nobody's",
      pod: ownedBy('batch.volcano.sh/v1alpha1', 'Job', 'sum'),
      key: `pre/fix/default/job-sum/${sourceUid}/`,
    },
    { name: 'a bare pod', pod: bare, sets: [], key: `pre/fix/default/pod-web-5d4f8-abcde/${sourceUid}/` },
  ];
  for (const c of cases)
    it(c.name, async () => expect(await keyPrefix(c.pod, c.sets ?? [], undefined, c.jobs)).to.equal(c.key));

  const called = (name: string, one: Pod): Pod => ({ ...one, metadata: { ...one.metadata, name } });

  it('keeps StatefulSets apart whose pods look alike, and a pod that is called like one (peer fault 4)', async () => {
    const alike = [ownedBy('apps/v1', 'StatefulSet', 'db'), ownedBy('apps/v1', 'StatefulSet', 'db-0'), bare];
    const keys = await Promise.all(alike.map((one) => keyPrefix(called('db-0-1', one), [])));
    expect(new Set(keys).size).to.equal(3);
  });

  it('keeps the replicas of one workload apart (peer fault 5)', async () => {
    const replica = ownedBy('apps/v1', 'StatefulSet', 'db');
    const other = { ...replica, metadata: { ...replica.metadata, uid: 'another' } };
    expect(await keyPrefix(other, [])).to.not.equal(await keyPrefix(replica, []));
  });

  it('gives source and target of an instance the same key, and another instance another', async () => {
    const keyOf = async (of: Pod): Promise<string | undefined> => {
      const pods = { byUid: () => of, get: () => undefined, list: () => [of] };
      const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
      const welcome = await welcomeFor(of.metadata.uid, {
        pods,
        replicaSets,
        jobs: replicaSets,
        store,
        prefix: '',
        retention,
        keys,
      });
      return welcome && `${welcome.keyId} ${welcome.dataKey.toString('hex')}`;
    };
    const stranger = pod({ metadata: { uid: 'another' } });
    expect(await keyOf(target())).to.equal(await keyOf(pod()));
    expect(await keyOf(stranger)).not.to.equal(await keyOf(pod()));
  });

  it('works without a prefix', async () => {
    expect(await keyPrefix(pod(), [replicaSet()], '')).to.equal(`default/deployment-web/${sourceUid}/`);
  });

  it('says how long checkpoints are kept', async () => {
    const pods = { byUid: () => pod(), get: () => undefined, list: () => [pod()] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    const welcome = await welcomeFor('x', { pods, replicaSets, jobs: replicaSets, store, prefix: '', retention, keys });
    expect(welcome?.retention).to.deep.equal(retention);
  });

  it('takes an unreadable generation for none', async () => {
    const odd = pod({ metadata: { annotations: { [annotations.generation]: '-1' } } });
    const pods = { byUid: () => odd, get: () => undefined, list: () => [odd] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    const welcome = await welcomeFor('x', { pods, replicaSets, jobs: replicaSets, store, prefix: '', retention, keys });
    expect(welcome?.generation).to.equal(0);
  });

  it('gives credentials for the instance alone, where there are such', async () => {
    const pods = { byUid: () => pod(), get: () => undefined, list: () => [pod()] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    const scoped = {
      storeFor: async (prefix: string, name: string) => ({ ...store, accessKeyId: `${prefix} ${name}` }),
    };
    const welcome = await welcomeFor('x', {
      pods,
      replicaSets,
      jobs: replicaSets,
      store,
      scoped,
      prefix: '',
      retention,
      keys,
    });
    expect(welcome?.store?.accessKeyId).to.equal(`default/deployment-web/${sourceUid}/ ${sourceUid}`);
  });

  it('welcomes nobody when these cannot be had, instead of giving more', async () => {
    const pods = { byUid: () => pod(), get: () => undefined, list: () => [pod()] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    const scoped = { storeFor: async () => Promise.reject(new PodferryError('STORE_DENIED', 'no')) };
    const work = welcomeFor('x', { pods, replicaSets, jobs: replicaSets, store, scoped, prefix: '', retention, keys });
    expect(await codeOf(work)).to.equal('STORE_DENIED');
  });
});
