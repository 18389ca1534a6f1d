import { expect } from 'chai';
import { createDraining, type Draining, type DrainingDeps } from '../../../agent/draining.ts';
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
const lost = (): Promise<Transfer> => Promise.reject(new PodferryError('OBJECT_CORRUPT', 'lost'));
const code = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof PodferryError ? error.code : error),
  );

/** A drain with `failures` restores that fail before one succeeds. */
function setUp(role: Journal['role'], failures = 0) {
  let journal: Journal = { ...restored, role };
  const log: string[] = [];
  let transfer: Transfer | undefined;
  let left = failures;
  const deps: DrainingDeps = {
    log: silentLog(),
    triesAfterMs: [0, 0, 0],
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
  const draining: Draining = createDraining(deps);
  return {
    draining,
    log,
    journal: () => journal,
    transfer: () => transfer,
    put: (next: Partial<Journal>) => void deps.change(next),
  };
}

describe('draining', () => {
  it('ends with the transfer when every page is in', async () => {
    const { draining, log, journal, transfer } = setUp('serving');
    const whole = transferOf({ storedBytes: 7 });
    draining.follow(Promise.resolve(whole));
    await draining.settled();
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
      const { draining, log, journal } = setUp(role, failures);
      draining.follow(lost());
      await draining.settled();
      expect(log).to.deep.equal(expected);
      expect(journal()).to.include({ draining: false, role });
      if (failures < 3) expect(journal().stopped).to.deep.equal([{ pid: 10_000, startTime: '9' }]);
    });
  }

  it('leaves a container alone that was restarted meanwhile', async () => {
    const { draining, log, put } = setUp('serving');
    draining.follow(lost());
    put({ placeholder: { pid: 2, startTime: '2' } });
    await draining.settled();
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
      const { draining } = setUp('serving');
      let end: (transfer: Transfer) => void = () => undefined;
      draining.follow(new Promise((resolve) => (end = resolve)));
      const aborter = new AbortController();
      const waiting = code(draining.wait(kind, aborter.signal));
      aborter.abort(new PodferryError('DEADLINE_EXCEEDED', 'late'));
      expect(await waiting).to.equal(waits ? 'DRAINING' : 'none');
      end(transferOf({}));
      await draining.settled();
      expect(await code(draining.wait(kind, new AbortController().signal))).to.equal('none');
    });
  }

  it('a checkpoint that waits can be cancelled', async () => {
    const { draining } = setUp('serving');
    draining.follow(new Promise(() => undefined));
    const signal = AbortSignal.abort(new PodferryError('CANCELLED', 'rolled back'));
    expect(await code(draining.wait(OrderKind.ORDER_KIND_CHECKPOINT, signal))).to.equal('CANCELLED');
  });

  it('CONTINUE waits for the tree that is restored again', async () => {
    const { draining, log } = setUp('restored', 1);
    draining.follow(lost());
    await draining.wait(OrderKind.ORDER_KIND_PREFLIGHT, new AbortController().signal);
    await eventually('a try', () => log.length > 0);
    await draining.wait(OrderKind.ORDER_KIND_CONTINUE, new AbortController().signal);
    expect(log.filter((word) => word === 'restore')).to.have.length(2);
  });
});
