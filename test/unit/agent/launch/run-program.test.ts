import { expect } from 'chai';
import { failureOf, runProgram, startProgram } from '../../../../agent/launch/run-program.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const env = { PATH: '/usr/bin:/bin' };
const shell = (script: string) => ({ file: '/bin/sh', args: ['-c', script], env });

describe('a program of the agent', () => {
  const failures: readonly {
    readonly name: string;
    readonly script: string;
    readonly deadlineMs: number;
    readonly code: string;
    readonly says: string;
  }[] = [
    { name: 'exits with a code', script: 'echo first; echo why >&2; exit 3', deadlineMs: 5_000, code: 'FILES_FAILED', says: 'testing: exit code 3: why' }, // prettier-ignore
    { name: 'is killed', script: 'kill -9 $$', deadlineMs: 5_000, code: 'FILES_FAILED', says: 'SIGKILL' },
    { name: 'takes too long', script: 'exec sleep 1000', deadlineMs: 50, code: 'DEADLINE_EXCEEDED', says: 'testing' },
  ];
  for (const { name, script, deadlineMs, code, says } of failures) {
    it(`fails when it ${name}`, async () => {
      const error: unknown = await runProgram('testing', shell(script), 'FILES_FAILED', deadlineMs).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).to.be.instanceOf(PodferryError).and.to.include({ code });
      expect(String(error)).to.include(says);
    });
  }

  it('fails when it does not exist', async () => {
    const command = { file: '/none', args: [], env };
    const error: unknown = await runProgram('testing', command, 'CGROUP_UNREACHABLE', 5_000).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(PodferryError).and.to.include({ code: 'CGROUP_UNREACHABLE' });
    expect(String(error)).to.include('ENOENT');
  });

  it('keeps the last 40 lines of its stderr', async () => {
    const { child, ended } = startProgram(shell('for i in $(seq 100); do echo line $i >&2; done; exit 1'), 5_000);
    child.stdin.end();
    child.stdout.resume();
    const outcome = await ended;
    expect(outcome.stderr.split('\n')).to.have.length(40);
    expect(outcome.stderr)
      .to.match(/^line 61\n/)
      .and.to.match(/line 100$/);
    expect(failureOf('testing', outcome, 'FILES_FAILED')?.detail).to.include({ stderr: outcome.stderr });
  });
});
