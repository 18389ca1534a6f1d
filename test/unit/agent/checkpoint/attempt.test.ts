import { expect } from 'chai';
import { Attempt } from '../../../../agent/checkpoint/attempt.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof PodferryError ? error.code : String(error);
};
const forever = new Promise<never>(() => undefined);

describe('Attempt', () => {
  it('ends what waits at its deadline', async () => {
    expect(await codeOf(new Attempt('x', 5, undefined).race(forever))).to.equal('DEADLINE_EXCEEDED');
  });

  it('gives every part the first failure', async () => {
    const attempt = new Attempt('x', 60_000, undefined);
    const first = attempt.race(forever);
    attempt.fail(new PodferryError('STORE_DENIED', 'first'));
    attempt.fail(new PodferryError('CANCELLED', 'second'));
    expect(await codeOf(first)).to.equal('STORE_DENIED');
    expect(await codeOf(attempt.race(Promise.resolve(1)))).to.equal('STORE_DENIED');
    expect(attempt.failure(new Error('third')).code).to.equal('STORE_DENIED');
    attempt.end();
  });

  it('ends with the signal of its caller, before or after its start', async () => {
    for (const isBefore of [true, false]) {
      const controller = new AbortController();
      const reason = new PodferryError('CANCELLED', 'no');
      if (isBefore) controller.abort(reason);
      const attempt = new Attempt('x', 60_000, controller.signal);
      controller.abort(reason);
      expect(await codeOf(attempt.race(forever))).to.equal('CANCELLED');
      attempt.end();
    }
  });

  it('names what was never ours INTERNAL', () => {
    const attempt = new Attempt('checkpoint of pid 7', 60_000, undefined);
    const failure = attempt.failure(new Error('boom'));
    expect(failure.code).to.equal('INTERNAL');
    expect(failure.message).to.include('checkpoint of pid 7').and.include('boom');
    attempt.end();
  });

  it('does not wait longer than the part it waits for', async () => {
    const attempt = new Attempt('x', 60_000, undefined);
    expect(await attempt.race(Promise.resolve(7))).to.equal(7);
    expect(attempt.remainingMs).to.be.greaterThan(50_000);
    attempt.end();
  });
});
