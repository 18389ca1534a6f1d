import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { fillFromStore } from '../../../../agent/direct/fill.ts';
import { Received } from '../../../../agent/direct/received.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { MemoryStore } from '../../../fakes/store.ts';
import { eventually } from '../../../fakes/until.ts';

/** Enough for a store in memory to say what it has. */
const firstLookMs = 50;

describe('agent/direct/fill', () => {
  let stopping: AbortController;
  let store: MemoryStore;

  beforeEach(() => {
    stopping = new AbortController();
    store = new MemoryStore();
  });
  afterEach(() => stopping.abort());

  const fill = async (received: Received): Promise<void> => {
    const { signal } = stopping;
    return fillFromStore({ store, prefix: 'packs/', received, everyMs: 1, lanes: 2, signal, log: silentLog() });
  };

  it('takes what appears from then on under the prefix, and nothing older', async () => {
    const received = new Received(100);
    store.objects.set('packs/old', Buffer.from('old'));
    const filling = fill(received);
    await delay(firstLookMs);
    store.objects.set('packs/new', Buffer.from('new'));
    store.objects.set('checkpoints/new', Buffer.from('new'));
    await eventually('it is there', () => received.has('packs/new'));
    expect((await received.find('packs/new', 0, stopping.signal))?.toString()).to.equal('new');
    expect(received.has('packs/old')).to.equal(false);
    expect(received.has('checkpoints/new')).to.equal(false);
    expect(received.bytes, 'came directly').to.equal(0);
    stopping.abort();
    await filling;
  });

  it('leaves alone what comes directly, and what does not fit', async () => {
    const received = new Received(10);
    void fill(received);
    await delay(firstLookMs);
    received.begin('packs/direct', 3)?.set(Buffer.from('abc'));
    store.objects.set('packs/direct', Buffer.from('xyz'));
    store.objects.set('packs/huge', Buffer.alloc(11));
    store.objects.set('packs/small', Buffer.alloc(2));
    await eventually('the small one is there', () => received.has('packs/small'));
    received.end('packs/direct');
    expect((await received.find('packs/direct', 0, stopping.signal))?.toString()).to.equal('abc');
    expect(received.has('packs/huge')).to.equal(false);
  });

  it('ends with its signal when the store does not answer', async () => {
    store.hangs = true;
    setImmediate(() => stopping.abort());
    await fill(new Received(10));
  });
});
