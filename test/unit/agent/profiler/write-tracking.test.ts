import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { WriteTracking } from '../../../../agent/profiler/write-tracking.ts';

describe('WriteTracking', () => {
  const dir = mkdtempSync(join(tmpdir(), 'podferry-'));
  after(() => rmSync(dir, { recursive: true }));

  /** A program that answers each request without ranges by what is given, and then ends. */
  function program(name: string, ...replies: readonly (readonly number[])[]): string {
    const file = join(dir, name);
    const answers = replies.map((words) => Buffer.from(Int32Array.from(words).buffer).toString('base64'));
    const body = `const replies = ${JSON.stringify(answers)};
process.stdin.on('data', () => { const next = replies.shift(); if (next) process.stdout.write(Buffer.from(next, 'base64')); else process.exit(); });`;
    writeFileSync(file, `#!${process.execPath}\n${body}\n`);
    chmodSync(file, 0o755);
    return file;
  }

  const ranges = [{ from: 1, to: 2 }];
  const target = { pid: 1 };

  for (const [name, binary, why] of [
    ['a program that is not there', '/nonexistent', 'spawn /nonexistent ENOENT'],
    ['a program that ends', program('ends'), 'the program that tracks writes has ended'],
    [
      'a kernel without it',
      program('refuses', [1, 2, 22, 0, 0, 0]),
      'the kernel does not note writes (it needs Linux 6.7) (errno 22)',
    ],
  ] as const) {
    it(`is off with ${name}, and says so once`, async () => {
      const said: string[] = [];
      const tracking = new WriteTracking({ binary, onFallback: (reason) => said.push(reason) });
      await Promise.all([tracking.ready(), tracking.ready()]);
      expect(tracking.isOn).to.equal(false);
      await tracking.arm(target, ranges);
      expect(await tracking.written(target, ranges, true)).to.equal(undefined);
      expect(said).to.deep.equal([why]);
      await tracking.close();
    });
  }

  it('knows nothing of a process it could not be armed for, and tries three times', async () => {
    const refusal = [2, 7, 1, 0, 0, 0];
    const binary = program('untraceable', [1, 0, 0, 0, 0, 0], refusal, refusal, refusal);
    const said: string[] = [];
    const tracking = new WriteTracking({ binary, onFallback: (why, pid) => said.push(`${pid}: ${why}`) });
    await tracking.ready();
    for (let times = 0; times < 5; times += 1) {
      await tracking.arm(target, ranges);
      expect(await tracking.written(target, ranges, true)).to.equal(undefined);
    }
    expect(tracking.isOn).to.equal(true);
    expect(said).to.deep.equal(['1: the process cannot be traced (errno 1)']);
    await tracking.close();
    expect(tracking.isOn).to.equal(false);
  });

  it('can be closed before it has started, or without', async () => {
    const tracking = new WriteTracking({ binary: program('late', [1, 0, 0, 0, 0, 0]), onFallback: () => undefined });
    const ready = tracking.ready();
    await tracking.close();
    await ready;
    expect(tracking.isOn).to.equal(false);
    await new WriteTracking({ binary: '/nonexistent', onFallback: () => undefined }).close();
  });
});
