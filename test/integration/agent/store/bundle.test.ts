import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { marginBytes } from '../../../../agent/store/buffer-pool.ts';
import { createFileStore } from '../../../../agent/store/file.ts';
import type { Answer, Request } from '../../../../agent/store/frame-threads.ts';
import { openPack, packKey } from '../../../../agent/store/frames.ts';
import { encodeManifest, sha256Hex } from '../../../../agent/store/manifest.ts';
import { sealingFor } from '../../../fakes/sealing.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../../../', import.meta.url));

describe('the bundles of the store', function () {
  this.timeout(60_000);
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-bundle-'));
    await run(process.execPath, ['hack/bundle.mjs', dir], { cwd: repository });
  });
  after(async () => rm(dir, { recursive: true, force: true }));

  it('have a thread that seals, with its native module', async () => {
    const worker = new Worker(join(dir, 'agent-frame-worker.mjs'), { execArgv: [] });
    const raw = Buffer.from('what shrinks, shrinks '.repeat(30_000));
    const area = new SharedArrayBuffer(raw.byteLength + 2 * marginBytes);
    const whole = Buffer.from(area);
    raw.copy(whole, marginBytes);
    const key = packKey(sealingFor('i-1'), 'a');
    const request: Request = {
      id: 1,
      kind: 'seal',
      key,
      area,
      frames: [],
      rawAt: marginBytes,
      rawBytes: raw.byteLength,
    };
    worker.postMessage(request);
    const [answer] = (await once(worker, 'message')) as [Answer];
    await worker.terminate();
    const { frames, bytes } = answer.sealed ?? { frames: [], bytes: 0 };
    expect(bytes)
      .to.be.greaterThan(100)
      .and.lessThan(raw.byteLength / 4);
    whole.copyWithin(whole.byteLength - bytes, 0, bytes);
    expect(openPack(key, whole, frames, marginBytes, raw.byteLength)).to.equal(undefined);
    expect(whole.subarray(marginBytes, marginBytes + raw.byteLength).equals(raw)).to.equal(true);
  });

  it('have an inspector that runs by itself', async () => {
    const root = join(dir, 'store');
    await mkdir(root);
    const sealing = sealingFor('i-1');
    const manifest = encodeManifest(
      {
        checkpoint: 'c-1',
        instance: 'i-1',
        generation: 0,
        facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
        rootPid: 1,
        stoppedBefore: [],
        stdio: [],
        packs: [],
        images: [],
        pages: [],
      },
      sealing,
    );
    const { signal } = new AbortController();
    const key = 'p/checkpoints/c-1/manifest';
    await createFileStore(root).put(key, manifest, { sha256: sha256Hex(manifest), signal });
    await writeFile(join(dir, 'key'), sealing.key);
    const inspect = async (...args: string[]): Promise<string> => {
      const all = [join(dir, 'podferry-inspect.mjs'), ...args, '--store', pathToFileURL(root).href];
      return (await run(process.execPath, all)).stdout;
    };
    expect(await inspect('list')).to.equal(`${key}  instance i-1  key test-key\n`);
    expect(await inspect('verify', '--data-key-file', join(dir, 'key'))).to.equal(`${key}  ok\n`);
    // As in the operator's container, where nothing of it is a file.
    const child = run(process.execPath, [
      join(dir, 'podferry-inspect.mjs'),
      ...['verify', '--data-key-file', '-', '--store', pathToFileURL(root).href],
    ]);
    child.child.stdin?.end(sealing.key.toString('base64'));
    expect((await child).stdout).to.equal(`${key}  ok\n`);
    await writeFile(join(dir, 'key'), randomBytes(32));
    const failed = await inspect('verify', '--data-key-file', join(dir, 'key')).catch((error: unknown) => error);
    expect(failed).to.include({ code: 1 });
  });
});
