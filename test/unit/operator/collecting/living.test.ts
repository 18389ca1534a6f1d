import { expect } from 'chai';
import { askLiving, livingInstances } from '../../../../operator/collecting/living.ts';
import type { Call, KubeClient } from '../../../../operator/kube/client.ts';
import type { KubeObject } from '../../../../operator/kube/objects.ts';
import type { MigrationStatus } from '../../../../proto/migration.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';
import { checkpointRef, migration, pod, sourceUid, target, targetUid } from '../../../fakes/operator-objects.ts';

const other = '99999999-9999-4999-8999-999999999999';
const ended = (status: 'True' | 'False' | 'Unknown'): MigrationStatus => ({
  instance: other,
  conditions: [
    {
      type: 'Succeeded',
      status,
      reason: 'R',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
      observedGeneration: 1,
    },
  ],
});
const named = (status: unknown): KubeObject => ({ ...migration(), status }) as KubeObject;

describe('operator/collecting/living', () => {
  it('takes a pod for its instance and for its own uid, in whatever state it is', () => {
    const over = { ...pod(), status: { phase: 'Failed' } };
    const going = target({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', uid: other } });
    expect([...livingInstances([over], []).instances]).to.deep.equal([sourceUid]);
    expect([...livingInstances([going], []).instances]).to.deep.equal([sourceUid, other]);
  });

  for (const [what, status] of [
    ['instance', { instance: other }],
    ['source', { source: { pod: 'a', uid: other, node: 'n1' } }],
    ['target', { target: { uid: other } }],
    [
      "checkpoint's place",
      {
        checkpoint: {
          ...checkpointRef,
          pageBytes: 0,
          storedBytes: 0,
          fileBytes: 0,
          manifestKey: `p/ns/pod-a/${other}/checkpoints/g1/manifest`,
        },
      },
    ],
    ['outcome still open', ended('Unknown')],
  ] as const) {
    it(`takes what a Migration under way names for living: ${what}`, () => {
      expect(livingInstances([], [named(status)]).instances.has(other)).to.equal(true);
    });
  }

  for (const outcome of ['True', 'False'] as const) {
    it(`takes nothing from a Migration that has ended (${outcome})`, () => {
      expect(livingInstances([], [named(ended(outcome))]).instances.size).to.equal(0);
    });
  }

  it('knows nothing of a namespace in which a Migration cannot be read', () => {
    expect([...livingInstances([], [named({ attempt: 'x' })]).unclear]).to.deep.equal(['default']);
  });

  describe('asked of the API server', () => {
    const calls: Call[] = [];
    const server = (fails?: string): KubeClient =>
      answering((call) => {
        calls.push(call);
        if (fails !== undefined && call.path.includes(fails)) throw apiError(403, 'Forbidden');
        if (call.path.includes('migrations')) return { metadata: {}, items: [named({ instance: other })] };
        const isFirst = call.query?.['continue'] === undefined;
        return isFirst
          ? { metadata: { continue: 'more' }, items: [pod()] }
          : { metadata: { continue: '' }, items: [pod({ metadata: { uid: targetUid } })] };
      });
    beforeEach(() => void calls.splice(0));

    it('is complete: Migrations, then every page of the pods, none of them from a cache', async () => {
      const { instances } = await askLiving(server(), 'shop');
      expect([...instances]).to.include.members([other, sourceUid, targetUid]);
      expect(calls.map(({ path }) => path)).to.deep.equal([
        '/apis/migration.io/v1alpha1/namespaces/shop/migrations',
        '/api/v1/namespaces/shop/pods',
        '/api/v1/namespaces/shop/pods',
      ]);
      expect(calls.some(({ query }) => query?.['resourceVersion'] !== undefined)).to.equal(false);
    });

    for (const fails of ['migrations', 'pods']) {
      it(`is no answer when the ${fails} cannot be listed`, async () => {
        const failure: unknown = await askLiving(server(fails), 'shop').catch((error: unknown) => error);
        expect(failure).to.include({ status: 403 });
      });
    }
  });
});
