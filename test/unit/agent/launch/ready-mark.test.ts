import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { clearReady, markReady } from '../../../../agent/launch/ready-mark.ts';

describe('the ready mark', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'podferry-mark-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('names the placeholder, can be read by everybody and written by nobody, and is replaced as a whole', async () => {
    const run = join(dir, 'run');
    await markReady('app', { pid: 2, startTime: '100' }, run);
    await markReady('app', { pid: 9, startTime: '200' }, run);
    expect(readFileSync(join(run, 'app.ready'), 'utf8')).to.equal('9 200\n');
    expect(statSync(join(run, 'app.ready')).mode & 0o777).to.equal(0o444);
    expect(readdirSync(run)).to.deep.equal(['app.ready']);
  });

  it('is taken back, once or twice', async () => {
    await markReady('app', { pid: 2, startTime: '100' }, dir);
    await clearReady('app', dir);
    await clearReady('app', dir);
    expect(readdirSync(dir)).to.deep.equal([]);
  });
});
