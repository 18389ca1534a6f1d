import { expect } from 'chai';
import { admit, begin } from '../../../../agent/orders/admit.ts';
import type { Journal, Role } from '../../../../agent/journal.ts';
import { OrderKind, OrderStatus, type Order } from '../../../../proto/gen/agent/v1/agent.ts';

const {
  ORDER_KIND_PRECOPY,
  ORDER_KIND_PREFLIGHT,
  ORDER_KIND_CHECKPOINT,
  ORDER_KIND_RESUME,
  ORDER_KIND_RETIRE,
  ORDER_KIND_WARM,
  ORDER_KIND_RESTORE,
  ORDER_KIND_CONTINUE,
} = OrderKind;
const { ORDER_STATUS_WORKING, ORDER_STATUS_DONE, ORDER_STATUS_FAILED } = OrderStatus;

function order(kind: OrderKind, migrationUid = 'm1', attempt = 1): Order {
  return { kind, migrationUid, attempt, timeoutMs: 1000, checkpoint: undefined, direct: undefined, options: undefined };
}

function journal(role: Role, last?: Partial<NonNullable<Journal['order']>>): Journal {
  const full = { kind: ORDER_KIND_PREFLIGHT, migrationUid: 'm1', attempt: 1, status: ORDER_STATUS_DONE, ...last };
  return { role, stopped: [], draining: false, ...(last === undefined ? {} : { order: full }) };
}

/** Migration m1 was told to RESUME in its first attempt. */
function rolledBack(after: Journal): Journal {
  return { ...after, rolledBack: ['m1/1'] };
}

const frozen = journal('frozen', { kind: ORDER_KIND_CHECKPOINT });
const freezing = journal('frozen', { kind: ORDER_KIND_CHECKPOINT, status: ORDER_STATUS_WORKING });
const restored = journal('restored', { kind: ORDER_KIND_RESTORE });

const cases: readonly { name: string; order: Order; journal: Journal; restoreFor?: string; verdict: string }[] = [
  { name: 'the first order of all', order: order(ORDER_KIND_PREFLIGHT), journal: journal('serving'), verdict: 'run' },
  {
    name: 'a checkpoint after its preflight',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: journal('serving', {}),
    verdict: 'run',
  },
  {
    name: 'the same order again while it works',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: freezing,
    verdict: 'repeat',
  },
  {
    name: 'the same order again when it is done',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: frozen,
    verdict: 'repeat',
  },
  {
    name: 'continue again after it failed',
    order: order(ORDER_KIND_CONTINUE),
    journal: journal('restored', { kind: ORDER_KIND_CONTINUE, status: ORDER_STATUS_FAILED }),
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'the same order again after it failed',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: journal('serving', { kind: ORDER_KIND_CHECKPOINT, status: ORDER_STATUS_FAILED }),
    verdict: 'repeat',
  },
  {
    name: 'an older attempt',
    order: order(ORDER_KIND_RETIRE, 'm1', 1),
    journal: journal('frozen', { attempt: 2 }),
    verdict: 'refuse',
  },
  { name: 'resume while the checkpoint works', order: order(ORDER_KIND_RESUME), journal: freezing, verdict: 'run' },
  {
    name: 'resume by another migration while frozen',
    order: order(ORDER_KIND_RESUME, 'm2'),
    journal: frozen,
    verdict: 'refuse',
  },
  {
    name: 'resume when nothing is stopped',
    order: order(ORDER_KIND_RESUME, 'm2'),
    journal: journal('serving', {}),
    verdict: 'run',
  },
  { name: 'retire by the migration that froze', order: order(ORDER_KIND_RETIRE), journal: frozen, verdict: 'run' },
  { name: 'retire by another migration', order: order(ORDER_KIND_RETIRE, 'm2'), journal: frozen, verdict: 'refuse' },
  {
    name: 'retire of a running application',
    order: order(ORDER_KIND_RETIRE),
    journal: journal('serving', {}),
    verdict: 'refuse',
  },
  { name: 'retire while the checkpoint works', order: order(ORDER_KIND_RETIRE), journal: freezing, verdict: 'refuse' },
  {
    name: 'a checkpoint of a frozen tree',
    order: order(ORDER_KIND_CHECKPOINT, 'm2'),
    journal: frozen,
    verdict: 'refuse',
  },
  {
    name: 'restore in a target',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('waiting'),
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'restore by another migration',
    order: order(ORDER_KIND_RESTORE, 'm2'),
    journal: journal('waiting'),
    restoreFor: 'm1',
    verdict: 'refuse',
  },
  {
    name: 'restore again when the container was restarted',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('waiting', { kind: ORDER_KIND_RESTORE }),
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'restore again after it failed',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('waiting', { kind: ORDER_KIND_RESTORE, status: ORDER_STATUS_FAILED }),
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'restore again while it works',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('waiting', { kind: ORDER_KIND_RESTORE, status: ORDER_STATUS_WORKING }),
    restoreFor: 'm1',
    verdict: 'repeat',
  },
  {
    name: 'restore in an ordinary pod',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('serving'),
    verdict: 'refuse',
  },
  {
    name: 'restore after warming',
    order: order(ORDER_KIND_RESTORE),
    journal: journal('waiting', { kind: ORDER_KIND_WARM }),
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'warming in an ordinary pod',
    order: order(ORDER_KIND_WARM),
    journal: journal('serving'),
    verdict: 'refuse',
  },
  {
    name: 'a pre-copy of a frozen tree',
    order: order(ORDER_KIND_PRECOPY),
    journal: frozen,
    verdict: 'refuse',
  },
  {
    name: 'a checkpoint after its pre-copy',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: journal('serving', { kind: ORDER_KIND_PRECOPY }),
    verdict: 'run',
  },
  {
    name: 'continue a restored tree',
    order: order(ORDER_KIND_CONTINUE),
    journal: restored,
    restoreFor: 'm1',
    verdict: 'run',
  },
  {
    name: 'continue by another migration',
    order: order(ORDER_KIND_CONTINUE, 'm2'),
    journal: restored,
    restoreFor: 'm1',
    verdict: 'refuse',
  },
  {
    name: 'continue before the restore',
    order: order(ORDER_KIND_CONTINUE),
    journal: journal('waiting'),
    restoreFor: 'm1',
    verdict: 'refuse',
  },
  {
    name: 'a checkpoint after a move away',
    order: order(ORDER_KIND_CHECKPOINT, 'm2'),
    journal: journal('moved', {}),
    verdict: 'refuse',
  },
  {
    name: 'the next migration after a rollback',
    order: order(ORDER_KIND_PREFLIGHT, 'm2'),
    journal: journal('serving', {}),
    verdict: 'run',
  },
  {
    name: 'a checkpoint that comes after its rollback',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: rolledBack(journal('serving', { kind: ORDER_KIND_RESUME })),
    verdict: 'refuse',
  },
  {
    name: 'a checkpoint that comes after its rollback, when the next migration has begun',
    order: order(ORDER_KIND_CHECKPOINT),
    journal: rolledBack(journal('serving', { migrationUid: 'm2' })),
    verdict: 'refuse',
  },
  {
    name: 'a checkpoint of the next attempt',
    order: order(ORDER_KIND_CHECKPOINT, 'm1', 2),
    journal: rolledBack(journal('serving', { attempt: 2 })),
    verdict: 'run',
  },
  {
    name: 'resume again, of a rollback that failed',
    order: order(ORDER_KIND_RESUME),
    journal: rolledBack(journal('frozen', { kind: ORDER_KIND_RESUME, status: ORDER_STATUS_FAILED })),
    verdict: 'run',
  },
  { name: 'an unknown kind', order: order(OrderKind.UNRECOGNIZED), journal: journal('serving'), verdict: 'refuse' },
];

describe('agent/orders/admit', () => {
  for (const c of cases) {
    it(`${c.name}: ${c.verdict}`, () => {
      expect(admit(c.order, c.journal, c.restoreFor).verdict).to.equal(c.verdict);
    });
  }

  it('begins a checkpoint as the one who holds the tree', () => {
    const { role, order: begun } = begin(order(ORDER_KIND_CHECKPOINT), journal('serving'));
    expect([role, begun?.status]).to.deep.equal(['frozen', ORDER_STATUS_WORKING]);
  });

  it('remembers the last attempts that were rolled back, each once', () => {
    let after = journal('serving');
    for (let move = 0; move < 80; move += 1) {
      // each is told twice
      after = { ...after, ...begin(order(ORDER_KIND_RESUME, `m${move >> 1}`), after) };
    }
    expect(after.rolledBack).to.have.length(16);
    expect(new Set(after.rolledBack).size).to.equal(16);
    expect(after.rolledBack?.at(-1)).to.equal('m39/1');
  });
});
