import { expect } from 'chai';
import { exists, parseStat, readProcess, threadStates } from '../../../../agent/launch/proc-stat.ts';

const rest = '0 0 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 7 0 123456789 0 0';

describe('parseStat', () => {
  const names = ['app', 'a b', '(x)', ') S 1 2 (', 'a)b'];
  for (const name of names) {
    it(`reads past the name ${name}`, () => {
      expect(parseStat(`42 (${name}) T 7 ${rest}\n`)).to.deep.equal({
        pid: 42,
        parentPid: 7,
        startTime: '123456789',
        state: 'T',
        threads: 7,
        name,
      });
    });
  }

  for (const text of ['', '42', '42 (app', '42 (app) S 1']) {
    it(`gives nothing for ${JSON.stringify(text)}`, () => expect(parseStat(text)).to.equal(undefined));
  }
});

describe('a process in /proc', () => {
  it('is this one, under its own pid and start time only', () => {
    const own = readProcess(process.pid);
    expect(own).to.include({ pid: process.pid, parentPid: process.ppid });
    expect(exists({ pid: process.pid, startTime: own?.startTime ?? '' })).to.equal(true);
    expect(exists({ pid: process.pid, startTime: '1' })).to.equal(false);
    expect(threadStates(process.pid)).to.have.length.above(1);
  });

  it('is nothing when there is none', () => {
    expect(readProcess(2 ** 30)).to.equal(undefined);
    expect(threadStates(2 ** 30)).to.deep.equal([]);
  });
});
