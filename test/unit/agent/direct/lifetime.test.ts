import { expect } from 'chai';
import { connectToTarget, isLinkOver } from '../../../../agent/direct/lifetime.ts';
import { noLinks, type ConnectOptions } from '../../../../agent/direct/links.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { OrderKind, OrderStatus, type Order } from '../../../../proto/gen/agent/v1/agent.ts';
import { silentLog } from '../../../fakes/silent-log.ts';

const { ORDER_STATUS_DONE: done, ORDER_STATUS_FAILED: failed } = OrderStatus;

describe('agent/direct/lifetime', () => {
  const cases = [
    { name: 'a target that listens', kind: OrderKind.ORDER_KIND_WARM, status: done, expected: false },
    { name: 'a source between its orders', kind: OrderKind.ORDER_KIND_PRECOPY, status: done, expected: false },
    {
      name: 'a source whose checkpoint is complete',
      kind: OrderKind.ORDER_KIND_CHECKPOINT,
      status: done,
      expected: true,
    },
    { name: 'a target before its CONTINUE', kind: OrderKind.ORDER_KIND_RESTORE, status: done, expected: false },
    { name: 'a target with every page', kind: OrderKind.ORDER_KIND_CONTINUE, status: done, expected: true },
    { name: 'a source that goes on', kind: OrderKind.ORDER_KIND_RESUME, status: done, expected: true },
    { name: 'a source that is over', kind: OrderKind.ORDER_KIND_RETIRE, status: done, expected: true },
    { name: 'a failed pre-copy', kind: OrderKind.ORDER_KIND_PRECOPY, status: failed, expected: true },
    { name: 'a failed restore', kind: OrderKind.ORDER_KIND_RESTORE, status: failed, expected: true },
    {
      name: 'a failed CONTINUE, which is tried again',
      kind: OrderKind.ORDER_KIND_CONTINUE,
      status: failed,
      expected: false,
    },
    { name: 'a preflight check', kind: OrderKind.ORDER_KIND_PREFLIGHT, status: done, expected: false },
  ];
  for (const { name, kind, status, expected } of cases) {
    it(name, () => expect(isLinkOver(kind, status, false)).to.equal(expected));
  }
  it('a target that drains', () => {
    expect(isLinkOver(OrderKind.ORDER_KIND_CONTINUE, done, true)).to.equal(false);
  });
});

describe('agent/direct/lifetime: the connection to the target', () => {
  const to = { host: '10.0.0.1', port: 4_000, secret: Buffer.alloc(32) };
  const orders = [
    { name: 'for a pre-copy', kind: OrderKind.ORDER_KIND_PRECOPY, direct: to, expected: ['10.0.0.1:4000'] },
    {
      name: 'for a checkpoint, before which it is told of the freeze',
      kind: OrderKind.ORDER_KIND_CHECKPOINT,
      direct: to,
      expected: ['10.0.0.1:4000 freezing'],
    },
    { name: 'not without a place', kind: OrderKind.ORDER_KIND_CHECKPOINT, direct: undefined, expected: [] },
    { name: 'not by a target', kind: OrderKind.ORDER_KIND_WARM, direct: to, expected: [] },
  ];
  for (const { name, expected, kind, direct } of orders) {
    it(name, async () => {
      const connected: string[] = [];
      const links = {
        ...noLinks,
        connect: async (host: string, port: number, _secret: Uint8Array, options?: ConnectOptions) => {
          connected.push(`${host}:${port}${options?.isFreezing === true ? ' freezing' : ''}`);
          throw new PodferryError('DIRECT_FAILED', 'no way');
        },
      };
      await connectToTarget(order(kind, direct), links, silentLog());
      expect(connected).to.deep.equal(expected);
    });
  }
});

function order(kind: OrderKind, direct: Order['direct']): Order {
  return { kind, direct, migrationUid: 'm', attempt: 1, timeoutMs: 1, checkpoint: undefined, options: undefined };
}
