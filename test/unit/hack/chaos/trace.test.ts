import { expect } from 'chai';
import { judge, parseLine, type Line, type Trace } from '../../../../hack/chaos/trace.ts';

const ids = new Map([['root', 'aa']]);
const beat = (ticks: number, atUs: number, id = 'aa'): Line => ({ kind: 'beat', role: 'root', id, ticks, atUs });
const source = (...lines: Line[]): Trace => ({ pod: 'source', lines });
const target = (...lines: Line[]): Trace => ({ pod: 'target', lines });
const check = (bad: number): Line => ({ kind: 'check', role: 'root', id: 'aa', ticks: 1, pages: 9, bad });

interface Case {
  readonly name: string;
  readonly traces: readonly Trace[];
  readonly wrong: readonly string[];
  readonly rewinds?: number;
}

const cases: readonly Case[] = [
  { name: 'a move', traces: [source(beat(1, 10), beat(2, 20)), target(beat(2, 30), beat(3, 40))], wrong: [] },
  { name: 'a move that was rolled back', traces: [source(beat(1, 10), beat(2, 90)), target()], wrong: [] },
  {
    name: 'two copies at once',
    traces: [source(beat(1, 10), beat(2, 30)), target(beat(2, 25), beat(3, 40))],
    wrong: ['root ran in source and target at once: 5 us'],
  },
  {
    name: 'a target that was restored again',
    traces: [source(beat(5, 10)), target(beat(6, 30), beat(8, 40), beat(5, 50), beat(6, 60))],
    wrong: [],
    rewinds: 1,
  },
  {
    name: 'a target from before the last word of its source',
    traces: [source(beat(5, 10)), target(beat(4, 30))],
    wrong: ['root went back to before its checkpoint: 4 < 5'],
  },
  {
    name: 'a source that went back',
    traces: [source(beat(5, 10), beat(4, 20))],
    wrong: ['root went back in time in the source'],
  },
  {
    name: 'another process',
    traces: [source(beat(5, 10)), target(beat(6, 30, 'bb'))],
    wrong: ['root of the target is another one'],
  },
  {
    name: 'a process started afresh',
    traces: [source({ kind: 'up', role: 'root', id: 'bb' })],
    wrong: ['root was started afresh in the source'],
  },
  { name: 'right pages', traces: [source(check(0))], wrong: [] },
  { name: 'wrong pages', traces: [source(), target(check(3))], wrong: ['3 wrong pages of root in the target'] },
];

describe('the judge of a campaign', () => {
  for (const { name, traces, wrong, rewinds = 0 } of cases) {
    it(`sees ${name}`, () => expect(judge(traces, ids)).to.deep.equal({ wrong, rewinds }));
  }

  it('reads what the witness writes', () => {
    expect(parseLine('root up 00ff')).to.deep.equal({ kind: 'up', role: 'root', id: '00ff' });
    expect(parseLine('leaf beat 00ff 12 99')).to.deep.equal({
      kind: 'beat',
      role: 'leaf',
      id: '00ff',
      ticks: 12,
      atUs: 99,
    });
    expect(parseLine('leaf check 00ff 12 64 1')).to.deep.equal({
      kind: 'check',
      role: 'leaf',
      id: '00ff',
      ticks: 12,
      pages: 64,
      bad: 1,
    });
    expect(parseLine('cannot allocate memory')).to.equal(undefined);
  });
});
