import { expect } from 'chai';
import { fuzz, toTable } from '../../../hack/fuzz/campaign.ts';

/** hack/fuzz-webhook.sh; PODFERRY_FUZZ_SEED repeats what an earlier run met. */
const seconds = Number(process.env['PODFERRY_FUZZ_SECONDS'] ?? 60);
const seed = Number(process.env['PODFERRY_FUZZ_SEED'] ?? Date.now() % 1_000_000);

describe('webhook server under attack', function () {
  this.timeout((seconds + 90) * 1000);

  it(`lives, stays small and answers what is good, ${seconds} s with seed ${seed}`, async () => {
    const outcome = await fuzz({ seconds, seed });
    console.log(toTable(outcome).replaceAll(/^/gm, '      '));
    expect(outcome.wrong).to.deep.equal([]);
    expect(outcome.answered).to.be.greaterThan(0);
  });
});
