import { expect } from 'chai';
import type { Checkpoint } from '../../../../proto/checkpoint.ts';
import { maxHistory, MigratableAppSpec, type MigratableApp } from '../../../../proto/migratable-app.ts';
import type { Migration } from '../../../../proto/migration.ts';
import { annotations } from '../../../../proto/names.ts';
import { planDeployment } from '../../../../operator/app/deployment.ts';
import { appOf, parseApp } from '../../../../operator/app/parse.ts';
import { statusOf, type AppWorld } from '../../../../operator/app/status.ts';
import type { Deployment, KubeObject } from '../../../../operator/kube/objects.ts';
import { checkpoint, startMs } from '../../../fakes/checkpoint-worlds.ts';
import { migration } from '../../../fakes/operator-objects.ts';

const template = { metadata: { labels: { app: 'counter' } }, spec: { containers: [{ name: 'app' }] } };

function app(spec: unknown = { template }, metadata: Partial<MigratableApp['metadata']> = {}): MigratableApp {
  return {
    metadata: {
      name: 'counter',
      namespace: 'default',
      uid: 'app-uid',
      resourceVersion: '1',
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...metadata,
    },
    spec: MigratableAppSpec.parse(spec),
    status: {},
  };
}

const asObject = (each: MigratableApp): KubeObject => each as unknown as KubeObject;

/** As the API server has it after the operator has made it. */
function made(of: MigratableApp, change: Partial<Deployment['spec']> = {}): Deployment {
  const planned = planDeployment(of, of.spec.template ?? template, undefined);
  if (planned.kind !== 'create') throw new Error(planned.kind);
  const { metadata, spec } = planned.deployment;
  const known = { uid: 'd', resourceVersion: '9', creationTimestamp: '2026-01-01T00:00:00Z' };
  return { metadata: { ...metadata, ...known }, spec: { ...spec, ...change } };
}

describe('operator/app: the Deployment of a template', () => {
  const injected = { metadata: { annotations: { [annotations.injected]: '1' } } };
  const cases = [
    { name: 'as admission has rewritten it', of: app(), found: made(app(), { template: injected }), kind: 'nothing' },
    { name: 'of somebody else', of: app(), found: made(app({ template }, { uid: 'x' })), kind: 'taken' },
    { name: 'of an older template', of: app({ template: { spec: {} } }), found: made(app()), kind: 'replace' },
    {
      name: 'scaled otherwise',
      of: app({ template, replicas: 2 }),
      found: made(app(), { replicas: 1 }),
      kind: 'replace',
    },
    { name: 'scaled by others when nothing is asked', of: app(), found: made(app(), { replicas: 7 }), kind: 'nothing' },
  ];
  for (const { name, of, found, kind } of cases) {
    it(`${name}: ${kind}`, () => expect(planDeployment(of, of.spec.template ?? template, found).kind).to.equal(kind));
  }

  it('is opted in, selects its own pods, and goes with its MigratableApp', () => {
    const { metadata, spec } = made(app({ template, replicas: 2 }));
    expect(metadata.annotations?.[annotations.enabled]).to.equal('true');
    expect(metadata.ownerReferences).to.deep.equal([
      { apiVersion: 'migration.io/v1alpha1', kind: 'MigratableApp', name: 'counter', uid: 'app-uid', controller: true },
    ]);
    expect(spec).to.deep.include({ replicas: 2, selector: { matchLabels: { 'migration.io/app': 'counter' } } });
    expect(spec.template).to.deep.equal({
      metadata: { labels: { app: 'counter', 'migration.io/app': 'counter' } },
      spec: { containers: [{ name: 'app' }] },
    });
  });

  it('when it is only scaled its template stays as admission has made it', () => {
    const found = made(app(), { template: injected, replicas: 1 });
    const next = planDeployment(app({ template, replicas: 3 }), template, found);
    expect(next.kind === 'replace' && next.deployment.spec).to.deep.include({ replicas: 3, template: injected });
  });
});

describe('operator/app: which MigratableApp is about a workload', () => {
  const pointing = (name: string, at: string): MigratableApp =>
    app({ targetRef: { kind: 'Deployment', name: 'counter' } }, { name, uid: name, creationTimestamp: at });
  const web = { kind: 'Deployment', name: 'counter' };
  const early = pointing('early', '2025-01-01T00:00:00Z');
  const late = pointing('late', '2025-06-01T00:00:00Z');
  const cases = [
    { name: 'the first of several', apps: [late, early], expected: 'early' },
    { name: 'the one whose own it is', apps: [early, app()], expected: 'counter' },
    { name: 'none of another namespace', apps: [app({ template }, { namespace: 'other' })], expected: undefined },
    { name: 'none', apps: [], expected: undefined },
  ];
  for (const { name, apps, expected } of cases) {
    it(name, () => expect(appOf(web, 'default', apps.map(asObject))?.metadata.name).to.equal(expected));
  }

  it('one that cannot be read is about nothing, and says why', () => {
    const parsed = parseApp({ ...asObject(app()), spec: { template: 7 } } as KubeObject);
    expect(parsed.invalid).to.contain('template');
    expect(parsed.app.spec).to.deep.equal({});
  });
});

describe('operator/app: the status', () => {
  const ready = { status: 'True', reason: 'Injected', message: 'm' } as const;
  const world = (change: Partial<AppWorld> = {}): AppWorld => ({
    app: app(),
    problems: [],
    workload: ready,
    checkpoints: [],
    migrations: [],
    ...change,
  });
  const at = (ms: number): string => new Date(startMs + ms).toISOString();
  const point = (name: string, ms: number, outcome: 'True' | 'False'): Checkpoint =>
    checkpoint(
      {
        newBytes: 100,
        completedAt: at(ms),
        conditions: [
          {
            type: 'Completed',
            status: outcome,
            reason: 'R',
            message: 'm',
            lastTransitionTime: at(0),
            observedGeneration: 1,
          },
        ],
      },
      { name },
    );
  const moved = (name: string, ms: number, outcome: 'True' | 'False' | 'Unknown'): Migration =>
    migration({
      metadata: { name },
      spec: { reason: 'because' },
      status: {
        source: { pod: 'web-1', uid: 'u', node: 'n1' },
        target: { node: 'n2' },
        downtimeMs: 200,
        ...(outcome === 'Unknown' ? {} : { completedAt: at(ms) }),
        ...(outcome === 'False' ? { failure: { code: 'TARGET_LOST', message: 'm' } } : {}),
        conditions: [
          {
            type: 'Succeeded',
            status: outcome,
            reason: 'R',
            message: 'm',
            lastTransitionTime: at(0),
            observedGeneration: 1,
          },
        ],
      },
    });

  it('counts what can be restored, and names the newest', () => {
    const checkpoints = [point('old', 1, 'True'), point('new', 5, 'True'), point('failed', 9, 'False')];
    expect(statusOf(world({ checkpoints }), startMs).checkpointStatus).to.deep.equal({
      lastCheckpointTime: at(5),
      lastCheckpointName: 'new',
      count: 2,
      totalBytes: 200,
    });
  });

  it('remembers finished moves, newest first, when their Migrations are gone; each once', () => {
    const migrations = [moved('a', 1, 'True'), moved('b', 5, 'False'), moved('c', 9, 'Unknown')];
    const first = statusOf(world({ migrations }), startMs);
    expect(first.migrationHistory).to.deep.equal([
      {
        name: 'b',
        pod: 'web-1',
        from: 'n1',
        to: 'n2',
        downtimeMs: 200,
        completedAt: at(5),
        outcome: 'Failed',
        reason: 'because',
        failure: 'TARGET_LOST',
      },
      {
        name: 'a',
        pod: 'web-1',
        from: 'n1',
        to: 'n2',
        downtimeMs: 200,
        completedAt: at(1),
        outcome: 'Succeeded',
        reason: 'because',
      },
    ]);
    const known = { ...app(), status: first };
    expect(statusOf(world({ app: known, migrations }), startMs)).to.deep.equal(first);
    expect(statusOf(world({ app: known }), startMs).migrationHistory).to.deep.equal(first.migrationHistory);
  });

  it('forgets the oldest moves', () => {
    const migrations = Array.from({ length: maxHistory + 3 }, (_, i) => moved(`m${i}`, i, 'True'));
    const { migrationHistory = [] } = statusOf(world({ migrations }), startMs);
    expect(migrationHistory).to.have.length(maxHistory);
    expect(migrationHistory[0]?.name).to.equal(`m${maxHistory + 2}`);
  });

  it('names what is wrong with the policy', () => {
    const { conditions, observedGeneration } = statusOf(world({ problems: ['here: "often"'] }), startMs);
    expect(observedGeneration).to.equal(3);
    expect(conditions?.[0]).to.include({ type: 'PolicyValid', status: 'False', message: 'here: "often"' });
  });
});
