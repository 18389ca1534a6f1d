import { expect } from 'chai';
import { parseCheck, parseGaps, parsePid } from '../../../../hack/bench/workload-lines.ts';

describe('lines of the workload', () => {
  it('a check', () => {
    const none = { pages: 16384, bad: 0, writes: 655 };
    expect(parseCheck('check pages 16384 bad 0 writes 655 slow')).to.deep.equal({ ...none, slowUs: [] });
    expect(parseCheck('check pages 16384 bad 0 writes 655 slow 1200 3400')).to.deep.equal({
      ...none,
      slowUs: [1200, 3400],
    });
    for (const line of ['', 'check', 'check pages 1 bad 0 writes x slow', 'gap 1.0 at 1']) {
      expect(() => parseCheck(line), line).to.throw('no answer');
    }
  });

  it('gaps among other lines', () => {
    const lines = ['up pid 7 pages 16384', 'gap 312.5 at 1795275331713', 'gap x at 1', 'gap 12 at 1795275331999', ''];
    expect(parseGaps(lines)).to.deep.equal([312.5, 12]);
  });

  it('its pid', () => {
    expect(parsePid(['gap 1.0 at 2', 'up pid 10000 pages 16384'])).to.equal(10000);
    expect(parsePid(['up pid'])).to.equal(undefined);
  });
});
