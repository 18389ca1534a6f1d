import { expect } from 'chai';
import { Received } from '../../../../agent/direct/received.ts';
import { takeAhead } from '../../../../agent/direct/take-ahead.ts';
import type { FindObjects } from '../../../../agent/direct/links.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { GatedStore } from '../../../fakes/gated-store.ts';
import { eventually } from '../../../fakes/until.ts';

describe('agent/direct/take-ahead', () => {
  let stopping: AbortController;
  let store: GatedStore;

  beforeEach(() => {
    stopping = new AbortController();
    store = new GatedStore();
    for (const key of ['a', 'b', 'c']) store.objects.set(key, Buffer.from(key.repeat(4)));
  });
  afterEach(() => stopping.abort());

  const finds =
    (...keys: string[]): FindObjects =>
    async () =>
      keys.map((key) => ({ key, bytes: 4 }));
  const take = (received: Received, find: FindObjects, lanes = 2): Promise<void> =>
    takeAhead({ store, find, received, lanes, signal: stopping.signal, log: silentLog() });

  it('brings what was found into memory, where threads can open it', async () => {
    const received = new Received(100);
    await take(received, finds('a', 'c'));
    expect(received.held('c')?.toString()).to.equal('cccc');
    expect(received.held('c')?.buffer).to.be.instanceOf(SharedArrayBuffer);
    expect(received.has('b')).to.equal(false);
    expect(received.bytes, 'came directly').to.equal(0);
  });

  it('leaves alone what is there, and what does not fit', async () => {
    const received = new Received(9);
    received.add('a', Buffer.from('xxxx'));
    await take(received, finds('a', 'b', 'c'));
    expect(['a', 'b', 'c'].map((key) => received.held(key)?.toString())).to.deep.equal(['xxxx', 'bbbb', undefined]);
  });

  it('lets go first what the source sends', async () => {
    const received = new Received(100);
    received.begin('direct', 4);
    const taking = take(received, finds('a'));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(store.reads).to.equal(0);
    received.end('direct');
    await taking;
    expect(received.has('a')).to.equal(true);
  });

  it('gives up what makes room for what the source sends', async () => {
    const received = new Received(8);
    await take(received, finds('a', 'b'));
    expect(received.begin('direct', 4)).not.to.equal(undefined);
    expect(['a', 'b'].filter((key) => received.has(key))).to.have.length(1);
  });

  it('ends when the store fails, and keeps what it has', async () => {
    const received = new Received(100);
    store.close();
    store.letThrough(1);
    store.failNext();
    await take(received, finds('a', 'b', 'c'), 1);
    expect(['a', 'b', 'c'].filter((key) => received.has(key))).to.deep.equal(['a']);
  });

  it('ends when nobody can say what to take', async () => {
    const received = new Received(100);
    await take(received, () => Promise.reject(new PodferryError('KEY_WRONG', 'another key')));
    expect(received.heldBytes).to.equal(0);
  });

  it('ends with its signal', async () => {
    const received = new Received(100);
    store.close();
    const taking = take(received, finds('a', 'b', 'c'));
    await eventually('it reads', () => store.waiting > 0);
    stopping.abort();
    await taking;
    expect(received.heldBytes).to.equal(0);
  });
});
