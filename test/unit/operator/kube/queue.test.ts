import { expect } from 'chai';
import { systemClock } from '../../../../operator/clock.ts';
import { createQueue, type QueueOptions } from '../../../../operator/kube/queue.ts';
import { eventually } from '../../../fakes/until.ts';

function queueOf(work: QueueOptions['work'], change: Partial<QueueOptions> = {}): ReturnType<typeof createQueue> {
  return createQueue({ work, workers: 2, clock: systemClock, minBackOffMs: 1, onError: () => undefined, ...change });
}

/** A piece of work that the test ends. */
function gate(): { readonly passed: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

describe('operator/kube/queue', () => {
  it('works on a key once however often it is added meanwhile, and once more after it was added during the work', async () => {
    const worked: string[] = [];
    const first = gate();
    const queue = queueOf(async (key) => {
      worked.push(key);
      if (worked.length === 1) await first.passed;
      return {};
    });
    for (let i = 0; i < 5; i += 1) queue.add('a');
    await eventually('the work has begun', () => worked.length === 1);
    for (let i = 0; i < 5; i += 1) queue.add('a');
    first.open();
    await eventually('it runs once more', () => worked.length === 2);
    await queue.stop();
    expect(worked).to.deep.equal(['a', 'a']);
  });

  it('never works on a key twice at the same time, nor on more keys than it has workers', async () => {
    const running = new Set<string>();
    let most = 0;
    let count = 0;
    const queue = queueOf(async (key) => {
      expect(running.has(key)).to.equal(false);
      running.add(key);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
      count += 1;
      return {};
    });
    for (let i = 0; i < 60; i += 1) queue.add(`key-${i % 6}`);
    await eventually('all is done', () => count >= 6 && running.size === 0);
    await queue.stop();
    expect(most).to.equal(2);
  });

  it('brings a failing key back later and later, others at once, and forgets the failures after a success', async () => {
    const delays: number[] = [];
    let failing = 4;
    let others = 0;
    const queue = queueOf(
      async (key) => {
        if (key === 'other') others += 1;
        else if (failing-- > 0) throw new Error('no');
        return {};
      },
      { onError: (_key, _error, delayMs) => delays.push(delayMs), maxBackOffMs: 4 },
    );
    queue.add('bad');
    queue.add('other');
    await eventually('it succeeded', () => failing < 0);
    failing = 1;
    queue.add('bad');
    await eventually('it failed and succeeded again', () => failing < 0);
    await queue.stop();
    expect(delays).to.deep.equal([1, 2, 4, 4, 1]);
    expect(others).to.equal(1);
  });

  it('comes back after the time that the work asked for, or earlier when it is woken', async () => {
    let count = 0;
    const queue = queueOf(async () => ({ requeueAfterMs: (count += 1) === 1 ? 5 : 3_600_000 }));
    queue.add('a');
    await eventually('it came back by itself', () => count === 2);
    queue.add('a');
    await eventually('it was woken', () => count === 3);
    await queue.stop();
  });

  it('begins nothing after stop, which waits for the work under way', async () => {
    let ended = false;
    const first = gate();
    const queue = queueOf(async () => {
      await first.passed;
      ended = true;
      return { requeueAfterMs: 0 };
    });
    queue.add('a');
    const stopped = queue.stop();
    queue.add('b');
    first.open();
    await stopped;
    expect(ended).to.equal(true);
  });
});
