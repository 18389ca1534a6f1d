import { expect } from 'chai';
import { newLogs } from '../../../../agent/orders/logs.ts';
import { readLogs } from '../../../../agent/store/logs.ts';
import { sealingOf } from '../../../../agent/store/sealing.ts';
import { OrderKind, type Order, type Welcome } from '../../../../proto/gen/agent/v1/agent.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { eventually } from '../../../fakes/until.ts';

const welcome: Welcome = {
  store: undefined,
  keyPrefix: 'p/i-1/',
  generation: 1,
  instance: 'i-1',
  dataKey: Buffer.alloc(32, 7),
  keyId: 'k',
  retention: undefined,
};
const order = (logUpload: boolean): Order => ({
  kind: OrderKind.ORDER_KIND_CHECKPOINT,
  migrationUid: 'm',
  attempt: 1,
  timeoutMs: 1_000,
  checkpoint: { id: 'c-1', manifestKey: '', manifestSha256: '' },
  direct: undefined,
  options: { strategy: 'full', freezeBudgetMs: 0, off: ['delta'], logUpload },
});
const { signal } = new AbortController();
const said = { name: 'dump.log', content: Buffer.from('said CRIU') };

describe('agent/orders/logs', () => {
  const read = (store: MemoryStore) =>
    readLogs(store, { keyPrefix: welcome.keyPrefix, checkpoint: 'c-1' }, sealingOf(welcome), signal);

  it('collects nothing, and stores nothing, unless told', () => {
    const store = new MemoryStore();
    const logs = newLogs(order(false), { home: { welcome, store }, log: silentLog() });
    expect(logs.collect).to.deep.equal({});
    logs.keep({ root: undefined });
    expect(store.objects.size).to.equal(0);
    expect(newLogs(order(true), { home: undefined, log: silentLog() }).collect).to.deep.equal({});
  });

  it('stores what was collected, and the figures', async () => {
    const store = new MemoryStore();
    const logs = newLogs(order(true), { home: { welcome, store }, log: silentLog() });
    logs.collect.onLogs?.([said]);
    logs.keep({
      root: undefined,
      figures: ({ strategy, off }) => ({ name: 'source.json', content: Buffer.from(JSON.stringify([strategy, off])) }),
    });
    await eventually('both logs', () => store.objects.size === 2);
    expect((await read(store)).map(({ name, content }) => [name, content.toString()])).to.deep.equal([
      ['dump.log', 'said CRIU'],
      ['source.json', '["full",["delta"]]'],
    ]);
  });

  it('stores what CRIU said when there are no figures', async () => {
    const store = new MemoryStore();
    const logs = newLogs(order(true), { home: { welcome, store }, log: silentLog() });
    logs.collect.onLogs?.([said]);
    logs.keep({ root: undefined, figures: () => Promise.reject(new Error('the drain failed')) });
    await eventually('the log', () => store.objects.size === 1);
    expect(await read(store)).to.deep.equal([said]);
  });
});
