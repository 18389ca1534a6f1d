import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { criuErrors, describeEnd, endWithin, startChild } from '../../../../agent/criu/child.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const sh = (script: string) => ({ file: '/bin/sh', args: ['-c', script], env: { PATH: '/usr/bin:/bin' } });

describe('children of the agent', () => {
  const ends = [
    { name: 'well', script: 'exit 0', said: 'exited with 0' },
    { name: 'with a code', script: 'exit 3', said: 'exited with 3' },
    { name: 'by a signal', script: 'kill -TERM $$', said: 'was ended by SIGTERM' },
  ];
  for (const { name, script, said } of ends) {
    it(`ends ${name}`, async () => {
      const child = await startChild(sh(script), [], 'CRIU_DUMP_FAILED');
      expect(describeEnd(await child.ended)).to.equal(said);
    });
  }

  it('keep the last lines of their standard error', async () => {
    const child = await startChild(sh('for i in $(seq 100); do echo line $i >&2; done'), [], 'CRIU_DUMP_FAILED');
    const { stderr } = await child.ended;
    expect(stderr).to.have.length(40);
    expect(stderr.at(-1)).to.equal('line 100');
  });

  it('are killed when they do not end', async () => {
    const child = await startChild(sh('exec sleep 1000'), [], 'CRIU_DUMP_FAILED');
    expect((await endWithin(child, 20)).signal).to.equal('SIGKILL');
  });

  it('that cannot be executed are an error with the given code', async () => {
    const run = { file: '/nowhere/criu', args: [], env: {} };
    const error: unknown = await startChild(run, [], 'CRIU_RESTORE_FAILED').catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(PodferryError).with.property('code', 'CRIU_RESTORE_FAILED');
  });
});

describe('criuErrors', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-test-'));
  });
  after(() => rm(dir, { recursive: true }));

  const cases = [
    {
      name: 'the first errors of the log',
      log: '(00.001) Warn\n(00.002) Error (criu/a.c:1): unix: cause\n(00.003) Error (criu/b.c:2): then\n',
      stderr: [],
      expected: 'Error (criu/a.c:1): unix: cause; Error (criu/b.c:2): then',
    },
    {
      name: 'standard error when there is no log',
      log: undefined,
      stderr: ['no such library'],
      expected: 'no such library',
    },
    { name: 'nothing when nothing was said', log: '(00.001) Warn\n', stderr: [], expected: '' },
  ];
  for (const { name, log, stderr, expected } of cases) {
    it(`gives ${name}`, async () => {
      const file = join(dir, log === undefined ? 'absent' : 'criu.log');
      if (log !== undefined) await writeFile(file, log);
      expect(await criuErrors(file, stderr)).to.equal(expected);
    });
  }
});
