import { expect } from 'chai';
import { annotations } from '../../../../proto/names.ts';
import { patienceMs, type Seen } from '../../../../operator/injection/plan-injection.ts';
import { reconcileInjection } from '../../../../operator/injection/reconcile-injection.ts';
import type { Call } from '../../../../operator/kube/client.ts';
import type { EventText } from '../../../../operator/kube/events.ts';
import type { Deployment } from '../../../../operator/kube/objects.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { enabled, injectedTemplate, webDeployment } from './support.ts';

const key = 'shop/web';
const injected = webDeployment({ annotations: enabled, generation: 4, resourceVersion: '31' }, injectedTemplate);
const skip =
  'podferry: CONTAINER_AMBIGUOUS: which of the containers a, b should move? (set the annotation migration.io/container)';

/** The operator's part of a cluster with one Deployment. */
function rig({ isRepairing = true, answer }: { isRepairing?: boolean; answer: (call: Call) => unknown }) {
  let deployment: Deployment | undefined = webDeployment({ annotations: enabled });
  let nowMs = 0;
  const told: EventText[] = [];
  const calls: Call[] = [];
  const seen = new Map<string, Seen>();
  const deps = {
    client: answering((call) => {
      calls.push(call);
      return answer(call);
    }),
    clock: { now: () => nowMs },
    log: silentLog(),
    events: { tell: async (_: unknown, text: EventText) => void told.push(text) },
    deployments: { get: () => deployment, put: (object: Deployment) => void (deployment = object) },
    isRepairing,
    seen,
  };
  return {
    told,
    calls,
    seen,
    reconcile: () => reconcileInjection(key, deps),
    async afterAMinute() {
      await this.reconcile();
      nowMs += patienceMs;
      return this.reconcile();
    },
    pass: (ms: number) => (nowMs += ms),
    change: (next: Deployment | undefined) => (deployment = next),
  };
}

describe('operator/injection/reconcile-injection', () => {
  it('waits a minute before it says anything', async () => {
    const on = rig({ answer: () => injected });
    expect(await on.reconcile()).to.deep.equal({ requeueAfterMs: patienceMs });
    expect(on.calls).to.deep.equal([]);
    expect(on.told).to.deep.equal([]);
  });

  it('without repair tells once in a generation, and changes nothing', async () => {
    const on = rig({ isRepairing: false, answer: () => injected });
    await on.afterAMinute();
    await on.afterAMinute();
    expect(on.told).to.have.length(1);
    expect(on.told[0]).to.include({ type: 'Warning', reason: 'NotInjected' });
    expect(on.told[0]?.message).to.match(/^NOT_INJECTED: generation 3: .*migration\.io\/reinject/);
    expect(on.calls).to.deep.equal([]);
    on.change(webDeployment({ annotations: enabled, generation: 4 }));
    await on.afterAMinute();
    expect(on.told).to.have.length(2);
  });

  it('repairs after a trial, at the version it has seen, by its own annotation only', async () => {
    const on = rig({ answer: () => injected });
    expect(await on.afterAMinute()).to.deep.equal({});
    expect(on.calls.map(({ query }) => query?.['dryRun'])).to.deep.equal(['All', undefined]);
    for (const { body } of on.calls) {
      const { uid, resourceVersion } = webDeployment().metadata;
      const mark = { [annotations.reinject]: new Date(patienceMs).toISOString() };
      expect(body).to.deep.equal({ metadata: { uid, resourceVersion, annotations: mark } });
    }
    expect(on.told).to.deep.equal([]);
    expect(on.seen.size).to.equal(0);
    await on.afterAMinute();
    expect(on.calls).to.have.length(2);
  });

  it("tells the webhook's reason once, and asks no more in that generation", async () => {
    const on = rig({
      answer: ({ onWarning }) => {
        onWarning?.('something else');
        onWarning?.(skip);
        return webDeployment({ annotations: enabled });
      },
    });
    await on.afterAMinute();
    await on.afterAMinute();
    expect(on.calls.map(({ query }) => query?.['dryRun'])).to.deep.equal(['All']);
    expect(on.told.map(({ message }) => message)).to.deep.equal([
      'CONTAINER_AMBIGUOUS: generation 3: which of the containers a, b should move? (set the annotation migration.io/container)',
    ]);
  });

  it('asks a webhook that did not answer again, later', async () => {
    const on = rig({ answer: () => webDeployment({ annotations: enabled }) });
    const { requeueAfterMs } = await on.afterAMinute();
    expect(requeueAfterMs).to.be.greaterThan(patienceMs);
    expect(on.told[0]?.message).to.match(/^NOT_INJECTED: .*did not answer/);
    await on.afterAMinute();
    expect(on.calls, 'it is not yet the time').to.have.length(1);
    on.pass(requeueAfterMs ?? 0);
    await on.reconcile();
    expect(on.calls).to.have.length(2);
  });

  it('asks again when the webhook went away between trial and change', async () => {
    const on = rig({
      answer: ({ query }) => (query?.['dryRun'] === 'All' ? injected : webDeployment({ annotations: enabled })),
    });
    expect(await on.afterAMinute()).to.have.property('requeueAfterMs');
    expect(on.told).to.deep.equal([]);
  });

  it('tells of a change that is forbidden, and does not try it again', async () => {
    const on = rig({
      answer: () => {
        throw apiError(403, 'Forbidden');
      },
    });
    await on.afterAMinute();
    await on.afterAMinute();
    expect(on.calls).to.have.length(1);
    expect(on.told[0]?.message).to.match(/could not be changed.*403/);
  });

  it('leaves a lost race to the back-off of the queue', async () => {
    const on = rig({
      answer: () => {
        throw apiError(409, 'Conflict');
      },
    });
    let failure: unknown;
    await on.afterAMinute().catch((error: unknown) => (failure = error));
    expect(failure).to.include({ status: 409 });
    expect(on.told).to.deep.equal([]);
  });

  it('forgets what is gone', async () => {
    const on = rig({ answer: () => injected });
    await on.reconcile();
    on.change(undefined);
    expect(await on.reconcile()).to.deep.equal({});
    expect(on.seen.size).to.equal(0);
  });
});
