import { expect } from 'chai';
import { annotations } from '../../../proto/names.ts';
import { answerTo, type Sources } from '../../../webhook/answer.ts';
import type { ImageNeed } from '../../../webhook/image-need.ts';
import { deployment, type Json, patchIn, reviewOf, settings } from './support/samples.ts';

const enabled = { [annotations.enabled]: 'true' };

function pod(metadata: Json, spec: Json = {}): Json {
  const containers = [{ name: 'app', image: 'app:1', command: ['/app'] }];
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers, serviceAccountName: 'default', ...spec } };
}

const ownedBy = (kind: string, uid = 'u') => [{ apiVersion: 'v1', kind, name: 'x', uid, controller: true }];

describe('answerTo', () => {
  function sources(command = { entrypoint: ['/entry'], cmd: [] as string[] }) {
    const needs: ImageNeed[] = [];
    const images: Sources['images'] = {
      find: async (need) => {
        needs.push(need);
        return { known: true, command };
      },
    };
    return { needs, images };
  }

  it('asks nobody about an image while the command is in the spec, or nothing opted in', async () => {
    const { needs, images } = sources();
    const imageless = { containers: [{ name: 'app', image: 'app:1' }] };
    await answerTo(reviewOf(deployment({ containers: [{ name: 'app', command: ['/a'] }] }, enabled)), settings, {
      images,
    });
    await answerTo(reviewOf(deployment(imageless)), settings, { images });
    await answerTo(reviewOf(deployment({ ...imageless, hostPID: true }, enabled)), settings, { images });
    const injected = deployment(imageless, enabled);
    await answerTo(reviewOf(injected, injected), settings, { images });
    expect(needs).to.deep.equal([]);
  });

  it('asks as the pod would pull', async () => {
    const { needs, images } = sources();
    const spec = {
      containers: [{ name: 'app', image: 'registry.shop/app:1', args: ['-v'] }],
      imagePullSecrets: [{ name: 'a' }, {}, { name: 'b' }],
      serviceAccountName: 'builder',
      nodeSelector: { 'kubernetes.io/arch': 'arm64' },
    };
    const answer = await answerTo(reviewOf(deployment(spec, enabled)), settings, { images });
    expect(answer.outcome).to.equal('injected');
    expect(needs).to.deep.equal([
      {
        namespace: 'shop',
        image: 'registry.shop/app:1',
        architecture: 'arm64',
        secrets: ['a', 'b'],
        serviceAccount: 'builder',
      },
    ]);
  });

  it('without anybody to ask leaves the workload as it is, with a warning', async () => {
    const answer = await answerTo(reviewOf(deployment({ containers: [{ name: 'app' }] }, enabled)), settings, {});
    expect(answer.outcome).to.equal('skipped');
    expect(answer.review.response.warnings?.[0]).to.match(/COMMAND_UNKNOWN/);
  });

  it('answers a dry run as any other request: nothing is ever done but answering (peer fault 2)', async () => {
    for (const object of [
      deployment({ containers: [{ name: 'app', command: ['/a'] }] }, enabled),
      pod({ annotations: enabled }),
    ]) {
      const [real, dry] = await Promise.all(
        [false, true].map((dryRun) => answerTo(reviewOf(object, undefined, { dryRun }), settings, {})),
      );
      expect(dry).to.deep.equal(real);
      expect(dry?.outcome).to.equal('injected');
    }
  });

  describe('for pods', () => {
    const annotationsOfOwner = (uid: string) => (uid === 'on' ? enabled : {});
    const cases: readonly {
      readonly name: string;
      readonly pod: Json;
      readonly request?: Json;
      readonly outcome: string;
    }[] = [
      { name: 'that opt in', pod: pod({ annotations: enabled }), outcome: 'injected' },
      {
        name: 'whose owner opted in',
        pod: pod({ ownerReferences: ownedBy('StatefulSet', 'on') }),
        outcome: 'injected',
      },
      { name: 'whose owner is not known', pod: pod({ ownerReferences: ownedBy('Job', 'new') }), outcome: 'unchanged' },
      {
        name: 'that refuse what their owner wants',
        pod: pod({ annotations: { [annotations.enabled]: 'false' }, ownerReferences: ownedBy('Job', 'on') }),
        outcome: 'unchanged',
      },
      {
        name: 'of a ReplicaSet',
        pod: pod({ annotations: enabled, ownerReferences: ownedBy('ReplicaSet', 'on') }),
        outcome: 'ignored',
      },
      {
        name: 'of a DaemonSet',
        pod: pod({ annotations: enabled, ownerReferences: ownedBy('DaemonSet') }),
        outcome: 'skipped',
      },
      { name: 'of a node', pod: pod({ annotations: enabled, ownerReferences: ownedBy('Node') }), outcome: 'skipped' },
      {
        name: 'that are targets of a move',
        pod: pod({ annotations: { ...enabled, [annotations.injected]: '1', [annotations.original]: '{}' } }),
        outcome: 'unchanged',
      },
      {
        name: 'without a service account',
        pod: pod({ annotations: enabled }, { serviceAccountName: '' }),
        outcome: 'skipped',
      },
      { name: 'that nobody can read', pod: pod({ annotations: enabled }, { containers: 'x' }), outcome: 'skipped' },
      { name: 'that nobody can read and nobody opted in', pod: pod({}, { containers: 'x' }), outcome: 'unchanged' },
      {
        name: 'with a value that cannot be meant',
        pod: pod({ annotations: { [annotations.enabled]: 'yes' } }),
        outcome: 'skipped',
      },
      {
        name: 'that are updated',
        pod: pod({ annotations: enabled }),
        request: { operation: 'UPDATE' },
        outcome: 'ignored',
      },
      {
        name: 'that are evicted',
        pod: pod({ annotations: enabled }),
        request: { subResource: 'eviction' },
        outcome: 'ignored',
      },
    ];
    for (const { name, pod: object, request, outcome } of cases) {
      it(`${name}: ${outcome}`, async () => {
        const answer = await answerTo(reviewOf(object, undefined, request), settings, { annotationsOfOwner });
        expect(answer.outcome).to.equal(outcome);
        expect(patchIn(answer).length > 0).to.equal(outcome === 'injected');
      });
    }

    it('logs the name that is still to be made', async () => {
      const answer = await answerTo(reviewOf(pod({ generateName: 'web-', annotations: enabled })), settings, {});
      expect(answer.object.name).to.equal('web-*');
    });

    it('touches nothing but what it adds', async () => {
      const future = { newField: { a: [1, null] } };
      const answer = await answerTo(reviewOf(pod({ annotations: enabled }, future)), settings, {});
      const touched = patchIn(answer).map(({ op, path }) => `${op} ${path}`);
      expect(touched.filter((one) => !one.startsWith('add '))).to.deep.equal(['replace /spec/containers/0/command']);
    });
  });
});
