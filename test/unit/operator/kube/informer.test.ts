import { expect } from 'chai';
import { systemClock } from '../../../../operator/clock.ts';
import { createInformer, type Informer } from '../../../../operator/kube/informer.ts';
import type { Pod } from '../../../../operator/kube/objects.ts';
import { apiError, FakeCollection } from '../../../fakes/kube-client.ts';
import { pod } from '../../../fakes/operator-objects.ts';
import { eventually } from '../../../fakes/until.ts';

const at = (name: string, uid: string, resourceVersion: string): Pod =>
  pod({ metadata: { name, uid, resourceVersion } });

describe('operator/kube/informer', () => {
  let server: FakeCollection;
  let informer: Informer<Pod>;
  let changes: string[];
  let errors: unknown[];

  beforeEach(() => {
    server = new FakeCollection();
    changes = [];
    errors = [];
    informer = createInformer<Pod>({
      client: server,
      path: '/api/v1/pods',
      clock: systemClock,
      pauseMs: 1,
      onError: (error) => errors.push(error),
    });
    informer.onChange((object, isDeleted) => {
      changes.push(`${isDeleted ? '-' : '+'}${object.metadata.name}@${object.metadata.resourceVersion}`);
    });
  });
  afterEach(async () => informer.stop());

  async function started(): Promise<void> {
    informer.start();
    await eventually('it watches', () => server.watches.length === 1);
  }

  it('has synced after the first list and follows the watch', async () => {
    server.items = [at('a', 'ua', '1')];
    expect(informer.hasSynced()).to.equal(false);
    await started();
    expect(informer.hasSynced()).to.equal(true);
    server.tell('MODIFIED', at('a', 'ua', '5'));
    server.tell('ADDED', at('b', 'ub', '6'));
    server.tell('DELETED', at('a', 'ua', '7'));
    server.tell('BOOKMARK', at('', 'x', '9'));
    expect([...informer.list()].map((each) => each.metadata.name)).to.deep.equal(['b']);
    expect(informer.byUid('ua')).to.equal(undefined);
    expect(informer.get('default/b')?.metadata.uid).to.equal('ub');
    expect(changes).to.deep.equal(['+a@1', '+a@5', '+b@6', '-a@7']);
  });

  it('goes on from where it was when a watch ends, and from a new list after 410', async () => {
    await started();
    server.tell('ADDED', at('a', 'ua', '8'));
    server.break();
    await eventually('it watches again', () => server.watches.length === 2);
    expect(server.watches[1]?.query['resourceVersion']).to.equal('8');
    expect(server.lists).to.equal(1);
    server.items = [at('b', 'ub', '20')];
    server.break(apiError(410, 'Expired'));
    await eventually('it watches a third time', () => server.watches.length === 3);
    expect(server.lists).to.equal(2);
    expect(changes).to.deep.equal(['+a@8', '-a@8', '+b@20']);
  });

  it('comes back by itself after any failure of list or watch', async () => {
    server.failures.push(apiError(500), new Error('connection refused'), apiError(403, 'Forbidden'));
    informer.start();
    await eventually('it watches', () => server.watches.length === 1);
    expect(errors).to.have.length(3);
    server.failures.push(apiError(429), apiError(429));
    server.break(new Error('reset'));
    await eventually('it watches again', () => server.watches.length === 2);
  });

  it('shows what a write returned at once, and no older version after it', async () => {
    server.items = [at('a', 'ua', '9')];
    await started();
    informer.put(at('a', 'ua', '12'));
    server.tell('MODIFIED', at('a', 'ua', '11'));
    expect(informer.get('default/a')?.metadata.resourceVersion).to.equal('12');
    expect(changes).to.deep.equal(['+a@9', '+a@12']);
  });

  it('does not bring a deleted object back when the answer to a write arrives late', async () => {
    server.items = [at('a', 'ua', '9')];
    await started();
    server.tell('DELETED', at('a', 'ua', '10'));
    informer.put(at('a', 'ua', '11'));
    expect(informer.get('default/a')).to.equal(undefined);
  });

  it('tells the end of an object that another one of its name has replaced unseen', async () => {
    server.items = [at('a', 'ua', '9')];
    await started();
    server.tell('ADDED', at('a', 'ub', '30'));
    expect(changes).to.deep.equal(['+a@9', '-a@9', '+a@30']);
    expect(informer.byUid('ua')).to.equal(undefined);
  });

  it('keeps no managed fields', async () => {
    const withFields = { ...at('a', 'ua', '1'), metadata: { ...at('a', 'ua', '1').metadata, managedFields: [{}] } };
    server.items = [withFields];
    await started();
    expect(informer.get('default/a')?.metadata).not.to.have.property('managedFields');
  });
});
