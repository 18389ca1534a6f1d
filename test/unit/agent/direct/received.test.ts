import { expect } from 'chai';
import { Received } from '../../../../agent/direct/received.ts';

const { signal } = new AbortController();

function add(received: Received, key: string, bytes: number): void {
  received.begin(key, bytes);
  received.end(key);
}

describe('agent/direct/received', () => {
  it('keeps what came, and nothing else', async () => {
    const received = new Received(100);
    received.begin('a', 3)?.set(Buffer.from('abc'));
    received.end('a');
    expect((await received.find('a', 0, signal))?.toString()).to.equal('abc');
    expect(await received.find('b', 0, signal)).to.equal(undefined);
    expect(received.bytes).to.equal(3);
  });

  it('shows at once what is whole, in memory that threads share', () => {
    const received = new Received(100);
    received.begin('a', 3)?.set(Buffer.from('abc'));
    expect(received.held('a')).to.equal(undefined);
    received.end('a');
    received.begin('b', 3)?.set(Buffer.from('xyz'));
    expect(received.held('a')?.toString()).to.equal('abc');
    expect(received.held('a')?.buffer).to.be.instanceOf(SharedArrayBuffer);
    expect(received.held('c')).to.equal(undefined);
  });

  it('tells what the source has sent from what was read ahead', () => {
    const received = new Received(100);
    received.begin('a', 3);
    expect(received.isDirect('a')).to.equal(false);
    received.end('a');
    received.add('b', Buffer.from('xyz'));
    expect(['a', 'b', 'c'].map((key) => received.isDirect(key))).to.deep.equal([true, false, false]);
  });

  it('waits for an object that is coming, and not for ever', async () => {
    const received = new Received(100);
    received.begin('a', 3);
    expect(await received.find('a', 1, signal)).to.equal(undefined);
    const found = received.find('a', 10_000, signal);
    received.end('a');
    expect(await found).to.have.length(3);
  });

  it('sends whoever waits to the store when the connection ends', async () => {
    const received = new Received(100);
    received.begin('a', 3);
    const found = received.find('a', 10_000, signal);
    received.cutOff();
    expect(await found).to.equal(undefined);
    expect(received.heldBytes).to.equal(0);
  });

  it("ends a wait by the caller's signal", async () => {
    const received = new Received(100);
    received.begin('a', 3);
    const abort = new AbortController();
    const found = received.find('a', 10_000, abort.signal);
    abort.abort(new Error('enough'));
    const error = await found.catch((thrown: unknown) => thrown);
    expect(error).to.have.property('message', 'enough');
  });

  it('gives up the oldest beyond its bound, and does not begin what never fits', async () => {
    const received = new Received(10);
    add(received, 'a', 4);
    add(received, 'b', 4);
    add(received, 'c', 4);
    expect(await received.find('a', 0, signal)).to.equal(undefined);
    expect(await received.find('b', 0, signal)).to.have.length(4);
    expect(received.begin('d', 11)).to.equal(undefined);
    expect(received.heldBytes).to.equal(8);
    expect(received.bytes).to.equal(12);
  });

  it('has the last one when a key comes twice, and nothing once cleared', async () => {
    const received = new Received(10);
    add(received, 'a', 4);
    add(received, 'a', 5);
    expect(await received.find('a', 0, signal)).to.have.length(5);
    expect(received.heldBytes).to.equal(5);
    received.clear();
    expect(await received.find('a', 0, signal)).to.equal(undefined);
    expect(received.heldBytes).to.equal(0);
  });
});
