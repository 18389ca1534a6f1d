import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import { createKeys } from '../../../../operator/keys/keys.ts';
import { welcomeFor } from '../../../../operator/hub/welcome.ts';
import type { Pod, ReplicaSet } from '../../../../operator/kube/objects.ts';
import { pod, replicaSet, sourceUid, target } from '../../../fakes/operator-objects.ts';

const keys = createKeys(Buffer.alloc(32, 1));
const retention = { count: 2, ttlSeconds: 60, depth: 3 };
const store = { endpoint: '', region: '', bucket: 'b', accessKeyId: '', secretAccessKey: '', forcePathStyle: false };
const { ownerReferences: _, ...ownerless } = replicaSet().metadata;

function keyPrefix(of: Pod, replicaSets: readonly ReplicaSet[], prefix = 'pre/fix'): string | undefined {
  const cache = <T extends Pod | ReplicaSet>(
    items: readonly T[],
  ): { byUid: (uid: string) => T | undefined; get: () => undefined; list: () => readonly T[] } => ({
    byUid: (uid) => items.find((item) => item.metadata.uid === uid),
    get: () => undefined,
    list: () => items,
  });
  return welcomeFor(of.metadata.uid, {
    pods: cache([of]),
    replicaSets: cache(replicaSets),
    store,
    prefix,
    retention,
    keys,
  })?.keyPrefix;
}

describe('operator/hub/welcome', () => {
  const bare = pod({ metadata: { ownerReferences: [] } });
  const job = pod({
    metadata: { ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: 'sum', uid: 'j', controller: true }] },
  });
  const cases = [
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
    { name: 'a pod of a Job', pod: job, sets: [], key: `pre/fix/default/job-sum/${sourceUid}/` },
    { name: 'a bare pod', pod: bare, sets: [], key: `pre/fix/default/pod-web-5d4f8-abcde/${sourceUid}/` },
  ];
  for (const c of cases) it(c.name, () => expect(keyPrefix(c.pod, c.sets)).to.equal(c.key));

  it('gives source and target of an instance the same key, and another instance another', () => {
    const keyOf = (of: Pod): string | undefined => {
      const pods = { byUid: () => of, get: () => undefined, list: () => [of] };
      const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
      const welcome = welcomeFor(of.metadata.uid, { pods, replicaSets, store, prefix: '', retention, keys });
      return welcome && `${welcome.keyId} ${welcome.dataKey.toString('hex')}`;
    };
    const stranger = pod({ metadata: { uid: 'another' } });
    expect(keyOf(target())).to.equal(keyOf(pod()));
    expect(keyOf(stranger)).not.to.equal(keyOf(pod()));
  });

  it('works without a prefix', () => {
    expect(keyPrefix(pod(), [replicaSet()], '')).to.equal(`default/deployment-web/${sourceUid}/`);
  });

  it('says how long checkpoints are kept', () => {
    const pods = { byUid: () => pod(), get: () => undefined, list: () => [pod()] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    const welcome = welcomeFor('x', { pods, replicaSets, store, prefix: '', retention, keys });
    expect(welcome?.retention).to.deep.equal(retention);
  });

  it('takes an unreadable generation for none', () => {
    const odd = pod({ metadata: { annotations: { [annotations.generation]: '-1' } } });
    const pods = { byUid: () => odd, get: () => undefined, list: () => [odd] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    expect(welcomeFor('x', { pods, replicaSets, store, prefix: '', retention, keys })?.generation).to.equal(0);
  });
});
