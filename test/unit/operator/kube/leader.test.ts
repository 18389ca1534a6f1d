import { expect } from 'chai';
import { createLeader, type Leader } from '../../../../operator/kube/leader.ts';
import type { Call, KubeClient } from '../../../../operator/kube/client.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';
import { eventually } from '../../../fakes/until.ts';

interface Lease {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec: { readonly holderIdentity: string; readonly leaseTransitions: number; readonly renewTime: string };
}

/** A server that stores one Lease with optimistic locking, and can be cut off. */
class LeaseServer {
  lease: Lease | undefined;
  isDown = false;
  calls = 0;
  readonly client: KubeClient = answering((call) => this.answer(call));

  private answer({ method, body }: Call): unknown {
    this.calls += 1;
    if (this.isDown) throw new Error('connection refused');
    const sent = body as Lease;
    const version = Number(this.lease?.metadata.resourceVersion ?? 0);
    if (method === 'GET') {
      if (this.lease === undefined) throw apiError(404, 'NotFound');
      return this.lease;
    }
    if (method === 'POST' && this.lease !== undefined) throw apiError(409, 'AlreadyExists');
    if (method === 'PUT' && sent.metadata.resourceVersion !== String(version)) throw apiError(409, 'Conflict');
    this.lease = { ...sent, metadata: { ...sent.metadata, resourceVersion: String(version + 1) } };
    return this.lease;
  }
}

describe('operator/kube/leader', () => {
  let server: LeaseServer;
  let nowMs: number;
  const aborting = new AbortController();
  const { signal } = aborting;
  after(() => aborting.abort());

  beforeEach(() => {
    server = new LeaseServer();
    nowMs = 1_000_000;
  });

  async function severalTries(): Promise<void> {
    const before = server.calls;
    await eventually('it tried several times', () => server.calls > before + 3);
  }

  function candidate(identity: string): Leader {
    return createLeader({
      client: server.client,
      clock: { now: () => nowMs },
      namespace: 'ns',
      lease: 'l',
      identity,
      retryMs: 1,
      onError: () => undefined,
    });
  }

  it('one of two leads; the other takes over when the lease is not renewed for 15 s of its own clock', async () => {
    await candidate('a').acquire(signal);
    expect(server.lease?.spec.holderIdentity).to.equal('a');
    let leads = false;
    const waiting = candidate('b')
      .acquire(signal)
      .then(() => {
        leads = true;
      });
    await severalTries();
    nowMs += 14_000;
    await severalTries();
    expect(leads).to.equal(false);
    nowMs += 2_000;
    await waiting;
    expect(server.lease?.spec.holderIdentity).to.equal('b');
    expect(server.lease?.spec.leaseTransitions).to.equal(2);
    expect(server.lease?.spec.renewTime).to.match(/\.\d{6}Z$/);
  });

  it('hands over at once when it is released', async () => {
    const first = candidate('a');
    await first.acquire(signal);
    await first.release();
    await candidate('b').acquire(signal);
    expect(server.lease?.spec.holderIdentity).to.equal('b');
  });

  it('does not release what another holds', async () => {
    const first = candidate('a');
    await first.acquire(signal);
    await first.release();
    await candidate('b').acquire(signal);
    await first.release();
    expect(server.lease?.spec.holderIdentity).to.equal('b');
  });

  it('stops leading when another holds the lease', async () => {
    const first = candidate('a');
    await first.acquire(signal);
    const held = first.hold(signal);
    const { lease } = server;
    if (lease === undefined) throw new Error('no lease');
    server.lease = { metadata: { resourceVersion: '99' }, spec: { ...lease.spec, holderIdentity: 'b' } };
    await held;
    expect(server.lease.spec.holderIdentity).to.equal('b');
  });

  it('stops leading when it could not renew for 10 s, and not before', async () => {
    const leader = candidate('a');
    await leader.acquire(signal);
    let isOver = false;
    const held = leader.hold(signal).then(() => {
      isOver = true;
    });
    server.isDown = true;
    nowMs += 9_000;
    await severalTries();
    expect(isOver).to.equal(false);
    nowMs += 2_000;
    await held;
  });

  it('survives a stranger who edits the lease', async () => {
    const leader = candidate('a');
    await leader.acquire(signal);
    let isOver = false;
    const stop = new AbortController();
    const held = leader.hold(stop.signal).then(() => {
      isOver = true;
    });
    const version = (): number => Number(server.lease?.metadata.resourceVersion);
    for (let edits = 0; edits < 5; edits += 1) {
      const { lease } = server;
      if (lease === undefined) throw new Error('no lease');
      server.lease = { ...lease, metadata: { resourceVersion: String(version() + 10) } };
      const edited = version();
      await eventually('it renews', () => version() > edited);
    }
    expect(isOver).to.equal(false);
    stop.abort();
    await held;
  });
});
