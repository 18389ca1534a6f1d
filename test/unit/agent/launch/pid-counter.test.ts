import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { raisePidCounter } from '../../../../agent/launch/pid-counter.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('raisePidCounter', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'podferry-counter-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const cases = [
    { now: '14\n', wanted: 9_999, then: '9999' },
    { now: '9999\n', wanted: 9_999, then: '9999\n' },
    { now: '12000\n', wanted: 9_999, then: '12000\n' },
  ];
  for (const { now, wanted, then } of cases) {
    it(`leaves ${then.trim()} of ${now.trim()} and ${wanted}`, async () => {
      const file = join(dir, 'ns_last_pid');
      writeFileSync(file, now);
      await raisePidCounter(wanted, file);
      expect(readFileSync(file, 'utf8')).to.equal(then);
    });
  }

  it('fails with the file in the message', async () => {
    const error: unknown = await raisePidCounter(1, join(dir, 'none')).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PodferryError).and.to.include({ code: 'INTERNAL' });
    expect(String(error)).to.include(join(dir, 'none'));
  });
});
