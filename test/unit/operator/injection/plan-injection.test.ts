import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import {
  patienceMs,
  planInjection,
  type InjectionPlan,
  type Seen,
} from '../../../../operator/injection/plan-injection.ts';
import { enabled, injectedTemplate, webDeployment } from './support.ts';

const nowMs = 1_000_000;
const uid = webDeployment().metadata.uid;
const seen = (change: Partial<Seen> = {}): Seen => ({
  uid,
  generation: 3,
  sinceMs: nowMs - patienceMs,
  isSettled: false,
  ...change,
});
const optedIn = webDeployment({ annotations: enabled });

const cases: readonly {
  readonly name: string;
  readonly deployment: Parameters<typeof planInjection>[0];
  readonly known?: Seen;
  readonly isRepairing?: boolean;
  readonly kind: InjectionPlan['kind'];
  readonly afterMs?: number;
}[] = [
  { name: 'one that has not opted in', deployment: webDeployment(), kind: 'forget' },
  {
    name: 'one that says no',
    deployment: webDeployment({ annotations: { [annotations.enabled]: 'false' } }),
    kind: 'forget',
  },
  {
    name: 'one whose template says no',
    deployment: webDeployment({ annotations: enabled }, { [annotations.enabled]: 'false' }),
    kind: 'forget',
  },
  {
    name: 'an injected one',
    deployment: webDeployment({ annotations: enabled }, injectedTemplate),
    known: seen(),
    kind: 'forget',
  },
  {
    name: 'one that is being deleted',
    deployment: webDeployment({ annotations: enabled, deletionTimestamp: 'x' }),
    known: seen(),
    kind: 'forget',
  },
  { name: 'one seen for the first time', deployment: optedIn, kind: 'wait', afterMs: patienceMs },
  {
    name: 'one whose template has opted in',
    deployment: webDeployment({}, enabled),
    kind: 'wait',
    afterMs: patienceMs,
  },
  {
    name: 'one within the minute',
    deployment: optedIn,
    known: seen({ sinceMs: nowMs - patienceMs + 1 }),
    kind: 'wait',
    afterMs: 1,
  },
  { name: 'one after the minute', deployment: optedIn, known: seen(), kind: 'report' },
  { name: 'one after the minute, with repair', deployment: optedIn, known: seen(), isRepairing: true, kind: 'repair' },
  {
    name: 'one that was told of',
    deployment: optedIn,
    known: seen({ isSettled: true }),
    isRepairing: true,
    kind: 'wait',
  },
  {
    name: 'one that changed since it was told of',
    deployment: optedIn,
    known: seen({ isSettled: true, generation: 2 }),
    kind: 'wait',
    afterMs: patienceMs,
  },
  {
    name: 'another of the same name',
    deployment: optedIn,
    known: seen({ uid: 'other', isSettled: true }),
    kind: 'wait',
    afterMs: patienceMs,
  },
];

describe('operator/injection/plan-injection', () => {
  for (const { name, deployment, known, isRepairing = false, kind, afterMs } of cases) {
    it(`${name}: ${kind}`, () => {
      const plan = planInjection(deployment, known, { isRepairing, nowMs });
      expect(plan.kind).to.equal(kind);
      if (plan.kind === 'wait') expect(plan.afterMs).to.equal(afterMs);
      if (plan.kind !== 'forget') expect(plan.seen).to.include({ uid, generation: 3 });
    });
  }
});
