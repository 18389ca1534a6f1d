import { expect } from 'chai';
import { inspect } from '../../../../agent/inspect/run.ts';
import { surroundingsOf } from '../../../../agent/inspect/surroundings.ts';
import { encodeManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { dataKeyOf, keyIdOf } from '../../../../proto/keys.ts';
import { S3Server } from '../../../fakes/s3-server.ts';

const master = Buffer.alloc(32, 5);
const { signal } = new AbortController();

function manifestOf(instance: string): Buffer {
  const empty: Manifest = {
    checkpoint: 'c',
    instance,
    generation: 0,
    facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
    rootPid: 1,
    stoppedBefore: [],
    stdio: [],
    packs: [],
    images: [],
    pages: [],
  };
  return encodeManifest(empty, { instance, id: keyIdOf(master), key: dataKeyOf(master, instance) });
}

describe('podferry-inspect in the container of an operator', () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await S3Server.start();
    for (const key of ['pre/fix/ns/pod-a/i-1', 'pre/fix/ns/pod-b/i-2', 'pre/fixed/ns/pod-a/i-3']) {
      const body = manifestOf(key.split('/').at(-1) ?? '');
      server.objects.set(`${key}/checkpoints/c/manifest`, { body, modified: new Date() });
    }
  });
  afterEach(() => server.close());

  const run = async (...args: string[]): Promise<{ code: number; out: string[] }> => {
    const { endpoint, bucket, accessKeyId, secretAccessKey } = server.settings;
    const env = {
      PODFERRY_S3_ENDPOINT: endpoint,
      PODFERRY_S3_REGION: '',
      PODFERRY_S3_BUCKET: bucket,
      PODFERRY_S3_PREFIX: '/pre/fix/',
      PODFERRY_S3_FORCE_PATH_STYLE: 'true',
      PODFERRY_S3_ACCESS_KEY_ID: accessKeyId,
      PODFERRY_S3_SECRET_ACCESS_KEY: secretAccessKey,
    };
    const out: string[] = [];
    const given = Buffer.from(master.toString('base64'));
    const surroundings = surroundingsOf(env, async () => Promise.resolve(given));
    return { code: await inspect(args, surroundings, (line) => out.push(line), signal), out };
  };

  it("has the operator's store and prefix by itself", async () => {
    const { code, out } = await run('list');
    expect(code).to.equal(0);
    expect(out).to.deep.equal([
      `pre/fix/ns/pod-a/i-1/checkpoints/c/manifest  instance i-1  key ${keyIdOf(master)}`,
      `pre/fix/ns/pod-b/i-2/checkpoints/c/manifest  instance i-2  key ${keyIdOf(master)}`,
    ]);
    expect((await run('list', '--prefix', '')).out).to.have.length(3);
  });

  it('verifies every instance with the master key of standard input', async () => {
    expect(await run('verify', '--master-key-file', '-')).to.deep.equal({
      code: 0,
      out: ['pre/fix/ns/pod-a/i-1/checkpoints/c/manifest  ok', 'pre/fix/ns/pod-b/i-2/checkpoints/c/manifest  ok'],
    });
  });

  it('needs --store elsewhere', async () => {
    const out: string[] = [];
    const nowhere = surroundingsOf({}, () => Promise.reject(new Error('no input')));
    expect(await inspect(['list'], nowhere, (line) => out.push(line), signal)).to.equal(1);
    expect(out.join('\n')).to.include('CONFIG_INVALID').and.include('--store');
  });
});
