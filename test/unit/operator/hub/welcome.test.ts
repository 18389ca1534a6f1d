import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import { welcomeFor } from '../../../../operator/hub/welcome.ts';
import type { Pod, ReplicaSet } from '../../../../operator/kube/objects.ts';
import { pod, replicaSet, sourceUid, target } from '../../../fakes/operator-objects.ts';

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
  return welcomeFor(of.metadata.uid, { pods: cache([of]), replicaSets: cache(replicaSets), store, prefix })?.keyPrefix;
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

  it('works without a prefix', () => {
    expect(keyPrefix(pod(), [replicaSet()], '')).to.equal(`default/deployment-web/${sourceUid}/`);
  });

  it('takes an unreadable generation for none', () => {
    const odd = pod({ metadata: { annotations: { [annotations.generation]: '-1' } } });
    const pods = { byUid: () => odd, get: () => undefined, list: () => [odd] };
    const replicaSets = { byUid: () => replicaSet(), get: () => undefined, list: () => [] };
    expect(welcomeFor('x', { pods, replicaSets, store, prefix: '' })?.generation).to.equal(0);
  });
});
