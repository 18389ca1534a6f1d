import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { undoDump, undoEnv } from '../../../../agent/criu/undo.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('undoing a dump', () => {
  let dir: string;
  const log = (): string =>
    undoEnv({ command: () => ({ file: '', args: [], env: {} }), pathFor: (path) => path }, dir)['PODFERRY_CRIU_UNDO'] ??
    '';

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-undo-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function program(lines: string): Promise<string> {
    const path = join(dir, 'program');
    await writeFile(path, `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
    return path;
  }

  it('tells CRIU the path of the log as CRIU sees it', () => {
    const criu = { command: () => ({ file: '', args: [], env: {} }), pathFor: (path: string) => `/proc/7/root${path}` };
    expect(undoEnv(criu, '/work/dump')).to.deep.equal({ PODFERRY_CRIU_UNDO: '/proc/7/root/work/dump/criu.undo' });
  });

  it('does nothing where no dump was', async () => {
    expect(await undoDump(dir, await program('exit 1'))).to.equal(false);
  });

  it('gives the log to our program', async () => {
    await writeFile(log(), '');
    expect(await undoDump(dir, await program(`[ "$*" = "undo ${log()}" ]`))).to.equal(true);
  });

  it('says what could not be undone', async () => {
    await writeFile(log(), '');
    let failure: unknown;
    await undoDump(dir, await program('echo thread 7: cannot be seized >&2; exit 125')).catch((error: unknown) => {
      failure = error;
    });
    expect(failure).to.be.instanceOf(PodferryError).with.property('code', 'CRIU_DUMP_FAILED');
    expect((failure as PodferryError).message).to.include('thread 7: cannot be seized');
  });
});
