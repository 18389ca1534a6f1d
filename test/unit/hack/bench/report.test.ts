import { expect } from 'chai';
import { sizeName, toJson, toTable, type Report } from '../../../../hack/bench/report.ts';

const machine = { cores: 2, memoryGiB: 23.4567, kernel: '6.18', node: '20.19.0', criu: '4.2.1' };
const report: Report = {
  name: 'freeze',
  machine,
  results: [
    {
      ...{ case: '1GiB-2%', metric: 'freezeMs', n: 20, p50: 300.123, p99: 800, max: 800 },
      baseline: { case: 'criu+files', p50: 9000.5 },
      steps: [
        { step: 'scan', ms: 100 },
        { step: 'upload', ms: 20.55 },
      ],
    },
    { case: '64MiB', metric: 'rateMiBs', n: 5, p50: 12.345, p99: 9, max: 13 },
  ],
};

describe('report of a benchmark', () => {
  it('is one line of JSON in the shape that later benchmarks keep', () => {
    const line = toJson(report);
    expect(line).not.to.include('\n');
    expect(JSON.parse(line)).to.deep.equal({
      name: 'freeze',
      machine: { ...machine, memoryGiB: 23.46 },
      results: [
        {
          ...{ case: '1GiB-2%', metric: 'freezeMs', n: 20, p50: 300.12, p99: 800, max: 800 },
          baseline: { case: 'criu+files', p50: 9000.5 },
          steps: [
            { step: 'scan', ms: 100 },
            { step: 'upload', ms: 20.55 },
          ],
        },
        { case: '64MiB', metric: 'rateMiBs', n: 5, p50: 12.35, p99: 9, max: 13 },
      ],
    });
  });

  it('is a table for people', () => {
    expect(toTable(report).split('\n')).to.deep.equal([
      'freeze: 2 cores, 23.5 GiB, Linux 6.18, Node 20.19.0, CRIU 4.2.1',
      'case     metric     n   p50  p99  max      beside   p50',
      '1GiB-2%  freezeMs  20   300  800  800  criu+files  9001',
      '64MiB    rateMiBs   5  12.3    9   13',
      'where the time goes (medians, ms):',
      '  1GiB-2%, freezeMs: scan 100, upload 20.6',
    ]);
  });

  for (const [mib, name] of [
    [64, '64MiB'],
    [1024, '1GiB'],
    [1536, '1536MiB'],
    [8192, '8GiB'],
  ] as const) {
    it(`${mib} MiB are ${name}`, () => expect(sizeName(mib)).to.equal(name));
  }
});
