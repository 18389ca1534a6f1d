import { expect } from 'chai';
import { PodferryError } from '../../../../proto/errors.ts';
import { act, type ActDeps } from '../../../../operator/migration/act.ts';
import type { Action } from '../../../../operator/migration/world.ts';
import type { Call } from '../../../../operator/kube/client.ts';
import type { KubeObject, NewPod } from '../../../../operator/kube/objects.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';
import { migration, pod, target } from '../../../fakes/operator-objects.ts';

const newPod: NewPod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'x', namespace: 'default' },
  spec: pod().spec,
};
const create: Action = { kind: 'CreateTargetPod', pod: newPod };
const remove: Action = { kind: 'DeletePod', pod: { namespace: 'default', name: 'x', uid: 'u' }, graceSeconds: 1 };

describe('operator/migration/act', () => {
  let known: string[];

  function deps(answer: (call: Call) => unknown): ActDeps {
    const put = (object: KubeObject): void => {
      known.push(object.metadata.uid);
    };
    return { client: answering(answer), agents: { order: () => undefined }, pods: { put }, migrations: { put } };
  }
  beforeEach(() => {
    known = [];
  });

  const refuse = (status: number, reason: string) => (): never => {
    throw apiError(status, reason);
  };
  const taken =
    (found: unknown) =>
    ({ method }: Call): unknown => {
      if (method === 'POST') throw apiError(409, 'AlreadyExists');
      return found;
    };

  async function failing(action: Action, answer: (call: Call) => unknown): Promise<unknown> {
    try {
      await act(action, migration(), deps(answer));
    } catch (error) {
      return error;
    }
    return undefined;
  }

  it('takes a target that an earlier try has made for its own', async () => {
    await act(create, migration(), deps(taken(target())));
    expect(known).to.deep.equal([target().metadata.uid]);
  });

  it("does not take a stranger's pod of that name", async () => {
    const error = await failing(create, taken(pod()));
    expect(error).to.be.instanceOf(PodferryError).with.property('code', 'TARGET_NOT_READY');
    expect(known).to.deep.equal([]);
  });

  it('calls an exhausted quota final, and a server that is starting not', async () => {
    expect(await failing(create, refuse(403, 'Forbidden'))).to.have.property('code', 'TARGET_NOT_READY');
    expect(await failing(create, refuse(503, 'ServiceUnavailable'))).to.have.property('status', 503);
  });

  it('removes exactly this pod, and is content when it is gone or another has its name', async () => {
    let sent: unknown;
    await act(
      remove,
      migration(),
      deps(({ body }) => {
        sent = body;
        return {};
      }),
    );
    expect(sent).to.deep.include({ preconditions: { uid: 'u' }, gracePeriodSeconds: 1 });
    expect(await failing(remove, refuse(404, 'NotFound'))).to.equal(undefined);
    expect(await failing(remove, refuse(409, 'Conflict'))).to.equal(undefined);
    expect(await failing(remove, refuse(500, 'InternalError'))).to.have.property('status', 500);
  });

  it('adds and removes its own finalizer among those of others', async () => {
    const sent: unknown[] = [];
    const d = deps(({ body }) => {
      sent.push((body as { metadata: { finalizers: unknown } }).metadata.finalizers);
      return migration();
    });
    await act({ kind: 'AddFinalizer' }, migration({ metadata: { finalizers: ['other/x'] } }), d);
    const both = migration({ metadata: { finalizers: ['other/x', 'migration.io/cleanup'] } });
    await act({ kind: 'RemoveFinalizer' }, both, d);
    expect(sent).to.deep.equal([['other/x', 'migration.io/cleanup'], ['other/x']]);
  });
});
