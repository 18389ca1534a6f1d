import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openStdio, readStdioLinks } from '../../../../agent/checkpoint/stdio.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('standard input, output and error of a container', () => {
  let dir: string;
  let shell: ChildProcess;
  let pid: number;

  /** A process whose output and error are one real pipe, and whose input is none. */
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-test-'));
    const out = join(dir, 'out');
    const script = `sh -c 'echo $$; exec sleep 1000' 2>&1 </dev/null | exec cat > ${out}`;
    shell = spawn('sh', ['-c', script], { stdio: 'ignore' });
    await once(shell, 'spawn');
    const endsAt = performance.now() + 5_000;
    for (pid = 0; !(pid > 0) && performance.now() < endsAt;) {
      pid = Number(await readFile(out, 'utf8').catch(() => ''));
      await new Promise((resolve) => setImmediate(resolve));
    }
    while ((await readlink(`/proc/${pid}/exe`)).endsWith('sh')) await new Promise((resolve) => setImmediate(resolve));
  });
  after(async () => {
    process.kill(pid, 'SIGKILL');
    await once(shell, 'exit');
    await rm(dir, { recursive: true });
  });

  it('is remembered as far as it is pipes', async () => {
    const link = await readlink(`/proc/${pid}/fd/1`);
    expect(link).to.match(/^pipe:\[\d+\]$/);
    expect(await readStdioLinks(pid)).to.deep.equal([
      { fd: 1, link },
      { fd: 2, link },
    ]);
  });

  it('stands in for the old pipes, each once, under the numbers they have in CRIU', async () => {
    const links = [
      { fd: 1, link: 'pipe:[11]' },
      { fd: 2, link: 'pipe:[11]' },
    ] as const;
    const stdio = await openStdio(pid, links, 7);
    expect(stdio.inherited).to.deep.equal([{ fd: 7, link: 'pipe:[11]' }]);
    expect(stdio.fds).to.have.length(1);
    writeSync(stdio.fds[0] ?? -1, 'hello\n');
    await stdio.close();
    const endsAt = performance.now() + 5_000;
    let text = '';
    while (!text.includes('hello') && performance.now() < endsAt) text = await readFile(join(dir, 'out'), 'utf8');
    expect(text).to.equal(`${pid}\nhello\n`);
  });

  it('of a container that is gone is an error', async () => {
    const gone = 2 ** 22 - 1;
    for (const work of [readStdioLinks(gone), openStdio(gone, [{ fd: 1, link: 'pipe:[1]' }], 3)]) {
      const error: unknown = await work.catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(PodferryError).with.property('code', 'PLACEHOLDER_MISSING');
    }
  });
});
