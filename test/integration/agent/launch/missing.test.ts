import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cc = '/usr/bin/musl-gcc';
const sources = ['missing-model.c', '../../../../agent/launch/placeholder/fill-missing.c'];
const seeds = 200;

describe('what the filler knows to be missing', function () {
  this.timeout(60_000);
  let dir: string | undefined;
  let program: string;

  before(async function () {
    if (!existsSync(cc)) {
      console.log('      skipped: needs musl-gcc');
      this.skip();
    }
    dir = await mkdtemp(join(tmpdir(), 'podferry-missing-'));
    program = join(dir, 'missing-model');
    const files = sources.map((source) => fileURLToPath(new URL(source, import.meta.url)));
    execFileSync(cc, ['-std=gnu17', '-static', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, ...files]);
  });
  after(async () => {
    if (dir !== undefined) await rm(dir, { recursive: true });
  });

  it(`is what a plain array says, in ${seeds} histories of puts, unmaps, moves and forks`, () => {
    for (let seed = 1; seed <= seeds; seed++) execFileSync(program, [String(seed)]);
  });
});
