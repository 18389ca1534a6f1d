import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { findPlaceholder } from '../../../../agent/launch/placeholder.ts';

interface FakeProcess {
  readonly pid: number;
  readonly parentPid?: number;
  readonly exe?: string;
  readonly words?: readonly string[];
  readonly startTime?: number;
  readonly state?: string;
}

describe('findPlaceholder', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'podferry-find-'));
    for (const program of ['ours', 'other']) writeFileSync(join(dir, program), program);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  function add({
    pid,
    parentPid = 0,
    exe = 'ours',
    words = ['/x', 'infinity'],
    startTime = 5,
    state = 'S',
  }: FakeProcess) {
    const folder = join(dir, 'proc', String(pid));
    mkdirSync(folder, { recursive: true });
    symlinkSync(join(dir, exe), join(folder, 'exe'));
    writeFileSync(join(folder, 'cmdline'), words.map((word) => `${word}\0`).join(''));
    const stat = `${pid} (sleep) ${state} ${parentPid} 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${startTime} 0 0`;
    writeFileSync(join(folder, 'stat'), stat);
  }

  const cases: readonly {
    readonly name: string;
    readonly processes: readonly FakeProcess[];
    readonly found: { readonly pid: number; readonly startTime: string } | undefined;
  }[] = [
    { name: 'our program as the entrypoint', processes: [{ pid: 7 }], found: { pid: 7, startTime: '5' } },
    { name: 'nothing of another program', processes: [{ pid: 7, exe: 'other' }], found: undefined },
    { name: 'nothing that has a parent in the pod', processes: [{ pid: 7, parentPid: 1 }], found: undefined },
    { name: 'nothing in another mode', processes: [{ pid: 7, words: ['/x', 'ready', 'app'] }], found: undefined },
    { name: 'no zombie', processes: [{ pid: 7, state: 'Z' }], found: undefined },
    { name: 'nothing whose program is out of sight', processes: [{ pid: 7, exe: 'gone' }], found: undefined },
    {
      name: 'the newest, by time and not by number or text',
      processes: [
        { pid: 90, startTime: 999 },
        { pid: 8, startTime: 1000 },
      ],
      found: { pid: 8, startTime: '1000' },
    },
  ];
  for (const { name, processes, found } of cases) {
    it(`finds ${name}`, async () => {
      mkdirSync(join(dir, 'proc'));
      for (const process of processes) add(process);
      expect(await findPlaceholder({ binary: join(dir, 'ours'), proc: join(dir, 'proc') })).to.deep.equal(found);
    });
  }
});
