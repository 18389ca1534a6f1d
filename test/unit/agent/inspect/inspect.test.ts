import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { inspect } from '../../../../agent/inspect/run.ts';
import { surroundingsOf } from '../../../../agent/inspect/surroundings.ts';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { BufferPool } from '../../../../agent/store/buffer-pool.ts';
import { createFileStore } from '../../../../agent/store/file.ts';
import { storeLog } from '../../../../agent/store/logs.ts';
import { encodeManifest, sha256Hex, type Extent, type Manifest } from '../../../../agent/store/manifest.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';
import { appendExtents, PackUpload, PackWriter } from '../../../../agent/store/pack-writer.ts';
import { dataKeyOf, keyIdOf } from '../../../../proto/keys.ts';

const signal = new AbortController().signal;
const instance = 'i-1';
const keyPrefix = `p/ns/deployment-a/${instance}/`;
const master = randomBytes(32);
const sealing = { instance, id: keyIdOf(master), key: dataKeyOf(master, instance) };
const nowhere = surroundingsOf({}, () => Promise.reject(new Error('no input')));
const packBytes = 70 * pageBytes;

describe('podferry-inspect', () => {
  let dir: string;
  let root: string;
  let keyFile: string;
  const pages = randomBytes(100 * pageBytes);
  const image = Buffer.from('an image of CRIU '.repeat(900));

  /** Stores a checkpoint of a few packs, as the agent does, and returns its manifest's key. */
  async function checkpoint(id: string): Promise<string> {
    const store = createFileStore(root);
    const fail = (error: unknown): void => {
      throw error;
    };
    const pool = new BufferPool(3, packBytes);
    const upload = new PackUpload({ store, keyPrefix, pool, sealing, parallel: 2, signal, fail });
    const write = async (content: Buffer): Promise<Extent[]> => {
      const writer = new PackWriter(upload);
      const extents: Extent[] = [];
      appendExtents(extents, await writer.write(content));
      writer.seal();
      return extents;
    };
    const at = await write(pages);
    const images = [{ name: 'core-7.img', at: await write(image) }];
    const archive = await write(Buffer.from('a tar'));
    let next = 50;
    const runs = at.map(({ pack, offset, bytes }) => {
      const run = { page: next, pages: bytes / pageBytes, flags: 6, pack, at: offset / pageBytes };
      next += run.pages + 1;
      return run;
    });
    const manifest: Manifest = {
      checkpoint: id,
      instance,
      generation: 0,
      facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
      rootPid: 7,
      stoppedBefore: [],
      stdio: [],
      packs: await upload.finish(),
      images,
      pages: [
        { kind: 'pid', id: 7, runs: PageRuns.of([...runs, { page: next, pages: 3, flags: 6, pack: -1, at: 0 }]) },
      ],
      files: { archive, deleted: [] },
    };
    const key = `${keyPrefix}checkpoints/${id}/manifest`;
    const body = encodeManifest(manifest, sealing);
    await store.putOnce(key, body, { sha256: sha256Hex(body), signal });
    return key;
  }

  async function putLog(id: string): Promise<void> {
    const log = { name: 'dump.log', content: Buffer.from('said CRIU') };
    await storeLog(createFileStore(root), { keyPrefix, checkpoint: id }, log, sealing, signal);
  }

  const run = async (...args: string[]): Promise<{ code: number; out: string }> => {
    const lines: string[] = [];
    const more = ['--store', pathToFileURL(root).href];
    const code = await inspect([...args, ...more], nowhere, (line) => lines.push(line), signal);
    return { code, out: lines.join('\n') };
  };
  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const { key } of createFileStore(root).list('', signal)) found.push(key);
    return found.toSorted();
  };

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'podferry-inspect-'));
    root = join(dir, 'store');
    keyFile = join(dir, 'key');
    execFileSync('mkdir', [root]);
    await writeFile(keyFile, `${sealing.key.toString('hex')}\n`);
  });
  afterEach(async () => rm(dir, { recursive: true, force: true }));

  it('lists without a key, and verifies with it', async () => {
    const key = await checkpoint('c-1');
    const listed = await run('list', '--prefix', 'p/');
    expect(listed).to.deep.equal({ code: 0, out: `${key}  instance i-1  key ${sealing.id}` });
    expect((await run('list', '--prefix', 'q/')).out).to.equal('');
    expect(await run('verify', key, '--data-key-file', keyFile)).to.deep.equal({ code: 0, out: `${key}  ok` });
    await writeFile(join(dir, 'master'), master.toString('base64'));
    const byMaster = await run('verify', key, '--master-key-file', join(dir, 'master'));
    expect(byMaster).to.deep.equal({ code: 0, out: `${key}  ok` });
    await checkpoint('c-2');
    expect((await run('verify', '--prefix', 'p/', '--data-key-file', keyFile)).out.match(/ {2}ok/g)).to.have.length(2);
  });

  it('extracts what was put in', async () => {
    const key = await checkpoint('c-1');
    await putLog('c-1');
    const to = join(dir, 'out');
    expect((await run('extract', key, '--data-key-file', keyFile, '--to', to)).code).to.equal(0);
    expect((await readFile(join(to, 'images/core-7.img'))).equals(image)).to.equal(true);
    expect((await readFile(join(to, 'files.tar'))).toString()).to.equal('a tar');
    expect(await readdir(join(to, 'logs'))).to.deep.equal(['dump.log']);
    expect((await readFile(join(to, 'logs/dump.log'))).toString()).to.equal('said CRIU');
    expect(
      (await readFile(join(to, 'pages/pid-7'))).equals(Buffer.concat([pages, Buffer.alloc(3 * pageBytes)])),
    ).to.equal(true);
    expect(JSON.parse(await readFile(join(to, 'manifest.json'), 'utf8'))).to.include({ checkpoint: 'c-1' });
    // Nothing that is there already is overwritten.
    expect((await run('extract', key, '--data-key-file', keyFile, '--to', to)).code).to.equal(1);
  });

  it('exports to one file and imports it again, byte for byte', async () => {
    const key = await checkpoint('c-1');
    await putLog('c-1');
    const before = await keys();
    await cp(root, join(dir, 'copy'), { recursive: true });
    const archive = join(dir, 'c-1.tar');
    expect((await run('export', key, '--data-key-file', keyFile, '--to', archive)).code).to.equal(0);
    expect(execFileSync('tar', ['-tf', archive]).toString().split('\n').slice(0, -1)).to.deep.equal([
      'index.json',
      ...before.slice(2).map((_, i) => `pack-${i}`),
      'log-0',
      'manifest',
    ]);
    await rm(join(root, 'p'), { recursive: true });
    expect((await run('import', archive)).code).to.equal(0);
    expect(await keys()).to.deep.equal(before);
    for (const name of before) {
      expect((await readFile(join(root, name))).equals(await readFile(join(dir, 'copy', name))), name).to.equal(true);
    }
    expect((await run('verify', key, '--data-key-file', keyFile)).code).to.equal(0);
    expect((await run('import', archive)).code, 'a second time').to.equal(0);
  });

  it('exports nothing that is not whole, and imports no manifest of a damaged file', async () => {
    const key = await checkpoint('c-1');
    const archive = join(dir, 'c-1.tar');
    await run('export', key, '--data-key-file', keyFile, '--to', archive);
    const whole = await readFile(archive);
    const [, pack = ''] = await keys();
    await rm(join(root, pack));
    const refused = await run('export', key, '--data-key-file', keyFile, '--to', join(dir, 'second.tar'));
    expect(refused.code).to.equal(1);
    expect(refused.out).to.include(pack).and.include('OBJECT_MISSING');
    expect(await readdir(dir))
      .to.not.include('second.tar')
      .and.not.include('second.tar.part');
    await rm(join(root, 'p'), { recursive: true });
    for (const at of [0, 700, Math.floor(whole.byteLength / 2), whole.byteLength - 1500]) {
      const damaged = Buffer.from(whole);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at);
      await writeFile(archive, damaged);
      const { code, out } = await run('import', archive);
      expect(code, `byte ${at}`).to.equal(1);
      expect(out).to.include('OBJECT_CORRUPT');
      expect((await keys()).filter((name) => name.endsWith('/manifest'))).to.deep.equal([]);
    }
    await writeFile(archive, whole);
    await truncate(archive, whole.byteLength - 3000);
    expect((await run('import', archive)).code).to.equal(1);
    expect((await keys()).filter((name) => name.endsWith('/manifest'))).to.deep.equal([]);
  });

  it('finds every corruption and names its object', async () => {
    const key = await checkpoint('c-1');
    await checkpoint('c-2');
    const all = await keys();
    await cp(root, join(dir, 'copy'), { recursive: true });
    // The objects of c-1 alone: its manifest, and the packs it names.
    const archive = join(dir, 'c-1.tar');
    await run('export', key, '--data-key-file', keyFile, '--to', archive);
    const index = JSON.parse(execFileSync('tar', ['-xOf', archive, 'index.json']).toString()) as {
      objects: { key: string }[];
    };
    const own = index.objects.map((object) => object.key);
    const kinds = fc.constantFrom('flip', 'cut', 'longer', 'missing', 'swapped', 'empty');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...own),
        kinds,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (object, kind, seed, mask) => {
          const path = join(root, object);
          const whole = await readFile(path);
          const at = seed % whole.byteLength;
          const other =
            all.find((name) => name !== object && name.includes('/manifest') === object.includes('/manifest')) ?? '';
          const changed = Buffer.from(whole);
          changed.writeUInt8(changed.readUInt8(at) ^ mask, at);
          if (kind === 'flip') await writeFile(path, changed);
          else if (kind === 'cut') await truncate(path, at);
          else if (kind === 'longer') await writeFile(path, Buffer.concat([whole, Buffer.from([mask])]));
          else if (kind === 'missing') await rm(path);
          else if (kind === 'empty') await truncate(path, 0);
          else await cp(join(dir, 'copy', other), path);
          const { code, out } = await run('verify', key, '--data-key-file', keyFile);
          await writeFile(path, whole);
          expect(code, `${kind} ${object}`).to.equal(1);
          expect(out).to.include(`  ${object}  `);
        },
      ),
      { numRuns: 120 },
    );
    expect((await run('verify', key, '--data-key-file', keyFile)).code).to.equal(0);
  });

  it('says that the key is another one', async () => {
    const key = await checkpoint('c-1');
    await writeFile(keyFile, randomBytes(32));
    const { code, out } = await run('verify', key, '--data-key-file', keyFile);
    expect(code).to.equal(1);
    expect(out).to.include('KEY_WRONG').and.include(key);
  });

  const wrong: { name: string; args: string[] }[] = [
    { name: 'no command', args: [] },
    { name: 'an unknown command', args: ['repair'] },
    { name: 'an unknown option', args: ['list', '--fast'] },
    { name: 'no key', args: ['verify', 'm'] },
    { name: 'two keys', args: ['verify', '--data-key-file', 'a', '--master-key-file', 'b'] },
    { name: 'no target', args: ['export', 'm', '--data-key-file', 'k'] },
    { name: 'nothing to import', args: ['import'] },
    { name: 'too much', args: ['list', 'a', 'b'] },
  ];
  for (const { name, args } of wrong) {
    it(`explains itself when given ${name}`, async () => {
      const { code, out } = await run(...args);
      expect(code).to.equal(2);
      expect(out).to.include('podferry-inspect: looks into');
    });
  }

  it('knows no other stores, and no keys of another length', async () => {
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    expect(await inspect(['list', '--store', 'bucket'], nowhere, say, signal)).to.equal(2);
    expect(await inspect(['list', '--store', 'ftp://x'], nowhere, say, signal)).to.equal(1);
    expect(lines.join('\n')).to.include('CONFIG_INVALID');
    await writeFile(keyFile, 'short');
    expect((await run('verify', 'm', '--data-key-file', keyFile)).out).to.include('CONFIG_INVALID');
  });
});
