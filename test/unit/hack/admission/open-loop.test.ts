import { expect } from 'chai';
import { openLoop } from '../../../../hack/admission/open-loop.ts';

describe('open loop', () => {
  it('starts work although none before has ended, and waits for all of it', async () => {
    let [running, most, ended] = [0, 0, 0];
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    await openLoop(
      10_000,
      (n) => n < 20,
      async (n) => {
        running += 1;
        most = Math.max(most, running);
        if (n === 19) release();
        await gate;
        running -= 1;
        ended += 1;
      },
    );
    expect({ most, ended }).to.deep.equal({ most: 20, ended: 20 });
  });

  it('ends with the first failure', async () => {
    let failure: unknown;
    await openLoop(
      10_000,
      () => true,
      () => Promise.reject(new Error('no')),
    ).catch((error: unknown) => (failure = error));
    expect(failure).to.have.property('message', 'no');
  });
});
