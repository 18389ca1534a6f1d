import { expect } from 'chai';
import { annotations, labels } from '../../../../proto/names.ts';
import type { Migration } from '../../../../proto/migration.ts';
import { planTrigger, type TriggerPlan } from '../../../../operator/trigger/plan-trigger.ts';
import { resolvePolicy } from '../../../../operator/policy/resolve.ts';
import type { Pod } from '../../../../operator/kube/objects.ts';
import { migration, pod, sourceUid } from '../../../fakes/operator-objects.ts';

function asking(marks: Readonly<Record<string, string>> = { [annotations.trigger]: 'requested' }): Pod {
  return pod({ metadata: { ...pod().metadata, annotations: marks } });
}

function planOf(asked: Pod, existing: readonly Migration[]): TriggerPlan {
  const podAnnotations = asked.metadata.annotations ?? {};
  return planTrigger(
    asked,
    existing,
    resolvePolicy({ podAnnotations, app: undefined, config: undefined, defaults: undefined }),
  );
}

function ended(outcome: 'True' | 'False'): Migration {
  return migration({
    metadata: { labels: { [labels.podUid]: sourceUid } },
    status: {
      conditions: [
        {
          type: 'Succeeded',
          status: outcome,
          reason: 'X',
          message: '',
          lastTransitionTime: '2026-01-01T00:00:00Z',
          observedGeneration: 1,
        },
      ],
    },
  });
}

const cases: readonly {
  readonly name: string;
  readonly pod: Pod;
  readonly existing: Migration[];
  readonly kind: TriggerPlan['kind'];
}[] = [
  { name: 'no annotation', pod: pod(), existing: [], kind: 'nothing' },
  { name: 'a request', pod: asking(), existing: [], kind: 'create' },
  { name: 'another value', pod: asking({ [annotations.trigger]: 'now' }), existing: [], kind: 'refuse' },
  {
    name: 'a node that can be none',
    pod: asking({ [annotations.trigger]: 'requested', [annotations.targetNode]: 'No Node' }),
    existing: [],
    kind: 'refuse',
  },
  {
    name: 'a strategy that is none',
    pod: asking({ [annotations.trigger]: 'requested', [annotations.strategy]: 'eager' }),
    existing: [],
    kind: 'refuse',
  },
  {
    name: 'a mode that is none',
    pod: asking({ [annotations.trigger]: 'requested', [annotations.mode]: 'turbo' }),
    existing: [],
    kind: 'refuse',
  },
  {
    name: 'logs that may or may not be kept',
    pod: asking({ [annotations.trigger]: 'requested', [annotations.logUpload]: 'perhaps' }),
    existing: [],
    kind: 'refuse',
  },
  { name: 'a Migration under way', pod: asking(), existing: [migration()], kind: 'clear' },
  {
    name: 'the Migration it has just made',
    pod: asking(),
    existing: [migration({ metadata: { labels: { [labels.podUid]: sourceUid } } })],
    kind: 'clear',
  },
  { name: 'a Migration that has failed', pod: asking(), existing: [ended('False')], kind: 'create' },
  {
    name: 'a Migration of another pod',
    pod: asking(),
    existing: [migration({ spec: { podName: 'other' } })],
    kind: 'create',
  },
  {
    name: 'a Migration of a former pod of that name',
    pod: asking(),
    existing: [migration({ status: { source: { pod: 'web-5d4f8-abcde', uid: 'former', node: 'n1' } } })],
    kind: 'create',
  },
];

describe('operator/trigger/plan-trigger', () => {
  for (const c of cases) {
    it(`${c.name}: ${c.kind}`, () => expect(planOf(c.pod, c.existing).kind).to.equal(c.kind));
  }

  it('takes node, strategy and reason from the annotations', () => {
    const marks = {
      [annotations.trigger]: 'requested',
      [annotations.reason]: 'spot notice',
      [annotations.targetNode]: 'n2.example',
      [annotations.strategy]: 'full',
    };
    const plan = planOf(asking(marks), []);
    expect(plan).to.deep.include({
      kind: 'create',
      labels: { [labels.podUid]: sourceUid },
      spec: {
        podName: 'web-5d4f8-abcde',
        targetNode: 'n2.example',
        strategy: 'full',
        reason: 'spot notice',
        timeoutSeconds: 300,
      },
    });
  });

  it('takes the options of an experiment from the annotations', () => {
    for (const [marks, options] of [
      [{ [annotations.mode]: '+hot-seed' }, { mode: '+hot-seed' }],
      [{ [annotations.logUpload]: 'true' }, { logUpload: true }],
      [
        { [annotations.mode]: 'full', [annotations.logUpload]: 'false' },
        { mode: 'full', logUpload: false },
      ],
    ] as const) {
      const plan = planOf(asking({ [annotations.trigger]: 'requested', ...marks }), []);
      expect(plan.kind === 'create' ? plan.spec.options : plan).to.deep.equal(options);
    }
  });

  it('names the values that there are', () => {
    const plan = planOf(asking({ [annotations.trigger]: 'requested', [annotations.mode]: 'turbo' }), []);
    const known = 'baseline, +async, +promotion, +hot-seed, full';
    expect(plan).to.deep.equal({ kind: 'refuse', message: `${annotations.mode}: "turbo" is none of: ${known}` });
  });

  it('gives a repetition after a crash the same name, and the next request another', () => {
    const name = (existing: Migration[]): string => {
      const plan = planOf(asking(), existing);
      return plan.kind === 'create' ? plan.name : '';
    };
    expect(name([])).to.equal(name([]));
    expect(name([])).not.to.equal(name([ended('False')]));
    expect(name([])).to.match(/^web-5d4f8-abcde-[0-9a-f]{8}$/);
  });
});
