import { expect } from 'chai';
import type { Baseline } from '../../../../agent/memory/baseline.ts';
import { MemoryHolder } from '../../../../agent/memory/holder.ts';
import type { OrderContext } from '../../../../agent/orders/context.ts';
import { purposeOf, takeMemory } from '../../../../agent/orders/memory.ts';
import { OrderKind, type Order, type Welcome } from '../../../../proto/gen/agent/v1/agent.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const manifestKey = 'a/checkpoints/g1/manifest';
const checkpoint = { id: 'g1', manifestKey, manifestSha256: '' };
const baseline: Baseline = { checkpoint, seed: 7n, packs: [], processes: new Map(), hashes: new Map() };
const welcome = { keyPrefix: 'a/', instance: 'one', keyId: 'k', dataKey: new Uint8Array(32) } as Welcome;

describe('the memory for an order', () => {
  let store: MemoryStore;
  let memory: MemoryHolder;
  let abort: AbortController;

  beforeEach(() => {
    store = new MemoryStore();
    memory = new MemoryHolder();
    memory.remember(() => baseline, purposeOf(process.pid, welcome));
    abort = new AbortController();
  });

  const order = (...off: string[]): Order =>
    ({ kind: OrderKind.ORDER_KIND_PRECOPY, options: { off: ['dirtyTracking', ...off] } }) as unknown as Order;
  const context = (change: Partial<OrderContext> = {}): OrderContext =>
    ({
      config: { original: { container: 'app' } },
      log: silentLog(),
      journal: { appPid: process.pid },
      home: { welcome, store },
      memory,
      signal: abort.signal,
      ...change,
    }) as unknown as OrderContext;

  async function baselineFor(of: Order): Promise<Baseline | undefined> {
    const { session } = await takeMemory(of, context());
    await session.close();
    return session.baseline;
  }

  it('begins with the last checkpoint while its manifest is there', async () => {
    store.objects.set(manifestKey, Buffer.from('x'));
    expect(await baselineFor(order())).to.equal(baseline);
  });

  it('begins with nothing when the manifest is gone, whatever else is', async () => {
    store.objects.set(`${manifestKey}.log`, Buffer.from('x'));
    expect(await baselineFor(order())).to.equal(undefined);
  });

  it('begins with nothing when the delta is off', async () => {
    store.objects.set(manifestKey, Buffer.from('x'));
    expect(await baselineFor(order('delta'))).to.equal(undefined);
  });

  it('begins with nothing when the store cannot say', async () => {
    store.list = async function* () {
      await Promise.resolve();
      yield* [];
      throw new Error('no answer');
    };
    expect(await baselineFor(order())).to.equal(undefined);
  });

  it('is not had when the order ends meanwhile', async () => {
    store.hangs = true;
    const taking = codeOf(takeMemory(order(), context()));
    abort.abort(new Error('rolled back'));
    expect(await taking).to.equal('Error: rolled back');
  });

  it('is not had without an application, or a store', async () => {
    expect(await codeOf(takeMemory(order(), context({ home: undefined })))).to.equal('INTERNAL');
    const journal = { role: 'serving', stopped: [], draining: false } as OrderContext['journal'];
    expect(await codeOf(takeMemory(order(), context({ journal })))).to.equal('APP_NOT_RUNNING');
  });
});
