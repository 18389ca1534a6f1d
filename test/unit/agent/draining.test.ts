import { expect } from 'chai';
import { createDraining, lostDrain, type Draining, type DrainingDeps } from '../../../agent/draining.ts';
import type { Drain } from '../../../agent/orders/context.ts';
import type { Journal } from '../../../agent/journal.ts';
import { transferOf } from '../../../agent/orders/transfer.ts';
import { PodferryError } from '../../../proto/errors.ts';
import { OrderKind, type Transfer } from '../../../proto/gen/agent/v1/agent.ts';
import { eventually } from '../../fakes/until.ts';
import { silentLog } from '../../fakes/silent-log.ts';

const restored: Journal = {
  role: 'restored',
  placeholder: { pid: 1, startTime: '1' },
  appPid: 10_000,
  stopped: [{ pid: 10_000, startTime: '5' }],
  draining: true,
  restoredFrom: { id: 'c', manifestKey: 'k', manifestSha256: 's' },
};
const lost = () => lostDrain(new PodferryError('OBJECT_CORRUPT', 'lost'));
/** A guarded tree. */
const draining = (done: Promise<Transfer>, more: Partial<Drain> = {}): Drain => ({
  done,
  prepare: async () => undefined,
  fill: () => undefined,
  ...more,
});
const code = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof PodferryError ? error.code : error),
  );

/** A drain with `failures` restores that fail before one succeeds. */
function setUp(role: Journal['role'], failures = 0, idleFillMs = 60_000) {
  let journal: Journal = { ...restored, role };
  const log: string[] = [];
  let transfer: Transfer | undefined;
  let left = failures;
  const deps: DrainingDeps = {
    log: silentLog(),
    triesAfterMs: [0, 0, 0],
    idleFillMs,
    journal: () => journal,
    change: async (next, moved) => {
      journal = { ...journal, ...next };
      transfer = moved ?? transfer;
    },
    restoreInFull: async () => {
      log.push('restore');
      if (left-- > 0) throw new PodferryError('STORE_UNREACHABLE', 'no');
      return { journal: { role: 'restored', appPid: 10_000, stopped: [{ pid: 10_000, startTime: '9' }] } };
    },
    goOn: async () => void log.push('continue'),
    giveUp: async ({ code: why }) => void log.push(`give up ${why}`),
    over: () => void log.push('over'),
  };
  const drains: Draining = createDraining(deps);
  return {
    drains,
    log,
    journal: () => journal,
    transfer: () => transfer,
    put: (next: Partial<Journal>) => void deps.change(next),
  };
}

describe('draining', () => {
  it('ends with the transfer when every page is in', async () => {
    const { drains, log, journal, transfer } = setUp('serving');
    const whole = transferOf({ storedBytes: 7 });
    drains.follow(draining(Promise.resolve(whole)));
    await drains.settled();
    expect(journal()).to.include({ draining: false, restoredFrom: undefined, role: 'serving' });
    expect(transfer()).to.equal(whole);
    expect(log).to.deep.equal(['over']);
  });

  const tries = [
    { name: 'a tree that was continued already', role: 'serving', failures: 0, log: ['restore', 'continue', 'over'] },
    { name: 'a tree that is still to be continued', role: 'restored', failures: 0, log: ['restore', 'over'] },
    {
      name: 'after failed tries',
      role: 'serving',
      failures: 2,
      log: ['restore', 'restore', 'restore', 'continue', 'over'],
    },
    {
      name: 'until it gives up',
      role: 'serving',
      failures: 3,
      log: ['restore', 'restore', 'restore', 'give up STORE_UNREACHABLE', 'over'],
    },
  ] as const;
  for (const { name, role, failures, log: expected } of tries) {
    it(`restores again when pages are lost: ${name}`, async () => {
      const { drains, log, journal } = setUp(role, failures);
      drains.follow(lost());
      await drains.settled();
      expect(log).to.deep.equal(expected);
      expect(journal()).to.include({ draining: false, role });
      if (failures < 3) expect(journal().stopped).to.deep.equal([{ pid: 10_000, startTime: '9' }]);
    });
  }

  it('leaves a container alone that was restarted meanwhile', async () => {
    const { drains, log, put } = setUp('serving');
    drains.follow(lost());
    put({ placeholder: { pid: 2, startTime: '2' } });
    await drains.settled();
    expect(log).to.deep.equal(['over']);
  });

  const kinds = [
    { kind: OrderKind.ORDER_KIND_CHECKPOINT, waits: true },
    { kind: OrderKind.ORDER_KIND_PRECOPY, waits: true },
    { kind: OrderKind.ORDER_KIND_CONTINUE, waits: false },
    { kind: OrderKind.ORDER_KIND_PREFLIGHT, waits: false },
    { kind: OrderKind.ORDER_KIND_RESUME, waits: false },
  ];
  for (const { kind, waits } of kinds) {
    it(`${OrderKind[kind]} ${waits ? 'waits for every page' : 'does not wait'}`, async () => {
      const { drains } = setUp('serving');
      let end: (transfer: Transfer) => void = () => undefined;
      drains.follow(draining(new Promise((resolve) => (end = resolve))));
      const aborter = new AbortController();
      const waiting = code(drains.wait(kind, aborter.signal));
      await new Promise(setImmediate);
      aborter.abort(new PodferryError('DEADLINE_EXCEEDED', 'late'));
      expect(await waiting).to.equal(waits ? 'DRAINING' : 'none');
      end(transferOf({}));
      await drains.settled();
      expect(await code(drains.wait(kind, new AbortController().signal))).to.equal('none');
    });
  }

  it('a checkpoint that waits can be cancelled', async () => {
    const { drains } = setUp('serving');
    drains.follow(draining(new Promise(() => undefined)));
    const signal = AbortSignal.abort(new PodferryError('CANCELLED', 'rolled back'));
    expect(await code(drains.wait(OrderKind.ORDER_KIND_CHECKPOINT, signal))).to.equal('CANCELLED');
  });

  it('CONTINUE waits for the tree that is restored again', async () => {
    const { drains, log } = setUp('restored', 1);
    drains.follow(lost());
    await drains.wait(OrderKind.ORDER_KIND_PREFLIGHT, new AbortController().signal);
    await eventually('a try', () => log.length > 0);
    await drains.wait(OrderKind.ORDER_KIND_CONTINUE, new AbortController().signal);
    expect(log.filter((word) => word === 'restore')).to.have.length(2);
  });

  it('CONTINUE waits until the tree may run, a checkpoint for every page', async () => {
    const { drains } = setUp('restored');
    const signal = new AbortController().signal;
    let isFit: () => void = () => undefined;
    let end: (transfer: Transfer) => void = () => undefined;
    const done = new Promise<Transfer>((resolve) => (end = resolve));
    drains.follow(draining(done, { prepare: () => new Promise((resolve) => (isFit = resolve)) }));
    const log: string[] = [];
    const continued = drains.wait(OrderKind.ORDER_KIND_CONTINUE, signal).then(() => log.push('continued'));
    const taken = drains.wait(OrderKind.ORDER_KIND_CHECKPOINT, signal).then(() => log.push('taken'));
    log.push('fit');
    isFit();
    await continued;
    end(transferOf({}));
    await taken;
    expect(log).to.deep.equal(['fit', 'continued', 'taken']);
  });

  it('fills when told to, and in the end even when not', async () => {
    for (const idleFillMs of [0, 60_000]) {
      const { drains } = setUp('serving', 0, idleFillMs);
      let filled = 0;
      let end: (transfer: Transfer) => void = () => undefined;
      drains.follow(draining(new Promise((resolve) => (end = resolve)), { fill: () => void (filled += 1) }));
      expect(filled).to.equal(0);
      if (idleFillMs > 0) drains.fill();
      await eventually('the filling', () => filled > 0);
      end(transferOf({}));
      await drains.settled();
      drains.fill();
      expect(filled).to.equal(1);
    }
  });
});
