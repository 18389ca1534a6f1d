import { expect } from 'chai';
import { annotations, labels, podTemplateHash } from '../../../../proto/names.ts';
import { targetPod, targetPodName, type TargetPodInput } from '../../../../operator/migration/target-pod.ts';
import { migrationUid, pod, replicaSetUid, sourceUid } from '../../../fakes/operator-objects.ts';

function input(change: Partial<TargetPodInput> = {}): TargetPodInput {
  return {
    source: pod(),
    container: 'app',
    migrationUid,
    migrationName: 'move-web',
    instance: sourceUid,
    generation: 1,
    targetNode: undefined,
    replicaSetUid,
    templateAffinity: undefined,
    ...change,
  };
}

describe('operator/migration/target-pod', () => {
  describe('name', () => {
    const long = `${'very-'.repeat(14)}long-5d4f8-abcde`;
    const cases = [
      { source: 'web-5d4f8-abcde', generation: 1, name: 'web-5d4f8-abcde-g1-abcde' },
      { source: 'web-5d4f8-abcde-g1-0f1e2', generation: 2, name: 'web-5d4f8-abcde-g2-abcde' },
      { source: 'web-g1-nothex', generation: 1, name: 'web-g1-nothex-g1-abcde' },
      { source: `${'a'.repeat(52)}-.-b`, generation: 12, name: `${'a'.repeat(52)}-g12-abcde` },
    ];
    for (const c of cases) {
      it(`${c.source} in generation ${c.generation}`, () => {
        expect(targetPodName(c.source, c.generation, migrationUid)).to.equal(c.name);
      });
    }
    it('is never longer than a hostname may be', () => {
      const name = targetPodName(long, 100, migrationUid);
      expect(name).to.have.length.at.most(63);
      expect(name).to.match(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
    });
  });

  it('is outside the selector of the ReplicaSet, inside that of the Service, and owned by nobody', () => {
    const { metadata } = targetPod(input());
    expect(metadata.labels).to.deep.equal({ app: 'web', [labels.migration]: 'move-web' });
    expect(metadata).not.to.have.property('ownerReferences');
  });

  it('carries the lineage and what it waits for; requests and marks of the source stay behind', () => {
    const source = pod({
      metadata: {
        annotations: {
          mine: 'kept',
          [annotations.trigger]: 'requested',
          [annotations.reason]: 'x',
          [annotations.targetNode]: 'n2',
          [annotations.generation]: '4',
          'cni.projectcalico.org/podIP': '10.0.0.1/32',
        },
      },
    });
    expect(targetPod(input({ source, generation: 5 })).metadata.annotations).to.deep.equal({
      mine: 'kept',
      [annotations.instance]: sourceUid,
      [annotations.generation]: '5',
      [annotations.restore]: migrationUid,
      [annotations.replicaSet]: replicaSetUid,
    });
  });

  it('keeps what it does not know and drops what the cluster assigns', () => {
    const source = pod({
      spec: {
        priority: 5,
        preemptionPolicy: 'Never',
        priorityClassName: 'high',
        ephemeralContainers: [{}],
        overhead: { cpu: '1' },
        tolerations: [{ key: 'a' }],
        volumes: [{ name: 'token', projected: {} }],
        fieldOfTheFuture: { deep: [1] },
      },
    });
    const { spec } = targetPod(input({ source }));
    for (const field of ['nodeName', 'priority', 'preemptionPolicy', 'ephemeralContainers', 'overhead']) {
      expect(spec).not.to.have.property(field);
    }
    expect(spec).to.deep.include({
      priorityClassName: 'high',
      tolerations: [{ key: 'a' }],
      volumes: [{ name: 'token', projected: {} }],
      fieldOfTheFuture: { deep: [1] },
      readinessGates: source.spec.readinessGates,
    });
  });

  it("has the source's hostname, its own or the one that its name gave it", () => {
    expect(targetPod(input()).spec.hostname).to.equal('web-5d4f8-abcde');
    expect(targetPod(input({ source: pod({ spec: { hostname: 'first' } }) })).spec.hostname).to.equal('first');
    const name = `a.b-${'x'.repeat(70)}`;
    expect(targetPod(input({ source: pod({ metadata: { name } }) })).spec.hostname).to.equal(`a-b-${'x'.repeat(59)}`);
  });

  it('goes to the node asked for, or to any but the present one', () => {
    const terms = (targetNode: string | undefined): unknown =>
      targetPod(input({ targetNode })).spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
    expect(terms('n2')).to.deep.equal({
      nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }],
    });
    expect(terms(undefined)).to.deep.equal({
      nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['n1'] }] }],
    });
  });

  it("adds that to each of the workload's own alternatives, and forgets the one of an earlier move", () => {
    const zone = { matchExpressions: [{ key: 'zone', operator: 'In', values: ['a'] }] };
    const field = { matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['n9'] }] };
    const templateAffinity = {
      podAntiAffinity: { some: 'thing' },
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1 }],
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [zone, field] },
      },
    };
    const earlier = targetPod(input({ templateAffinity, targetNode: 'n7' })).spec.affinity;
    if (earlier === undefined) throw new Error('no affinity');
    const source = pod({ spec: { affinity: earlier } });
    const ours = { key: 'metadata.name', operator: 'NotIn', values: ['n1'] };
    expect(targetPod(input({ source, templateAffinity })).spec.affinity).to.deep.equal({
      podAntiAffinity: { some: 'thing' },
      nodeAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1 }],
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ ...zone, matchFields: [ours] }, { matchFields: [...field.matchFields, ours] }],
        },
      },
    });
  });

  it('holds the probes of the chosen container back until its process is there, and no others', () => {
    const probe = { httpGet: { path: '/', port: 80 } };
    const containers = ['app', 'other'].map((name) => ({ name, startupProbe: probe, livenessProbe: probe }));
    const [app, other] = targetPod(input({ source: pod({ spec: { containers } }) })).spec.containers;
    expect(app?.['startupProbe']).to.deep.include({
      exec: { command: ['/.podferry/bin/sleep', 'ready', 'app'] },
      periodSeconds: 1,
    });
    expect(app?.['livenessProbe']).to.deep.equal(probe);
    expect(other?.['startupProbe']).to.deep.equal(probe);
  });

  it('leaves the source as it was', () => {
    const source = pod();
    const before = JSON.stringify(source);
    targetPod(input({ source }));
    expect(JSON.stringify(source)).to.equal(before);
    expect(source.metadata.labels?.[podTemplateHash]).to.equal('5d4f8');
  });
});
