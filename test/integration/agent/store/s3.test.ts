import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { createS3Store, type ClosableStore, type S3Settings } from '../../../../agent/store/s3.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const never = new AbortController().signal;

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof PodferryError ? error.code : String(error);
}

describe('S3 store against a real server', function () {
  this.timeout(60_000);
  const stores: ClosableStore[] = [];
  const prefix = `test-${randomUUID()}/`;
  let settings: S3Settings;

  const open = (more: Partial<S3Settings> = {}): ClosableStore => {
    const store = createS3Store({ ...settings, ...more });
    stores.push(store);
    return store;
  };

  before(function () {
    const endpoint = process.env['PODFERRY_S3_ENDPOINT'];
    if (endpoint === undefined) {
      console.log('      skipped: needs PODFERRY_S3_ENDPOINT and its companions');
      this.skip();
    }
    settings = {
      endpoint,
      region: process.env['PODFERRY_S3_REGION'] ?? 'us-east-1',
      bucket: process.env['PODFERRY_S3_BUCKET'] ?? 'podferry',
      accessKeyId: process.env['PODFERRY_S3_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: process.env['PODFERRY_S3_SECRET_ACCESS_KEY'] ?? '',
      forcePathStyle: true,
    };
  });
  after(() => {
    for (const store of stores) store.close();
  });

  it('gives back what was written, small and large', async () => {
    const store = open();
    for (const bytes of [1, 4096, 8 * 1024 * 1024]) {
      const body = randomBytes(bytes);
      await store.put(`${prefix}${bytes}`, body, { sha256: sha256Hex(body), signal: never });
      const target = Buffer.alloc(8 * 1024 * 1024);
      await store.read(`${prefix}${bytes}`, target, bytes, never);
      expect(target.subarray(0, bytes).equals(body)).to.equal(true);
      expect(Buffer.compare(await store.get(`${prefix}${bytes}`, bytes, never), body)).to.equal(0);
    }
  });

  it('has its server check the digest', async () => {
    const work = open().put(`${prefix}bad`, randomBytes(1000), {
      sha256: sha256Hex(Buffer.from('other')),
      signal: never,
    });
    expect(await codeOf(work)).to.be.oneOf(['STORE_WRITE_FAILED', 'STORE_DENIED']);
    expect(await codeOf(open().get(`${prefix}bad`, 1000, never))).to.equal('OBJECT_MISSING');
  });

  it('lets exactly one of many win a key', async () => {
    const store = open();
    const tries = Array.from({ length: 8 }, () => {
      const body = randomBytes(1000);
      return codeOf(store.putOnce(`${prefix}once`, body, { sha256: sha256Hex(body), signal: never }));
    });
    const codes = await Promise.all(tries);
    expect(codes.filter((code) => code === 'undefined')).to.have.length(1);
    expect(codes.filter((code) => code === 'STORE_WRITE_FAILED')).to.have.length(7);
  });

  const refusals: { name: string; more: Partial<S3Settings>; code: string }[] = [
    { name: 'a wrong secret', more: { secretAccessKey: 'wrong' }, code: 'STORE_DENIED' },
    { name: 'an unknown key id', more: { accessKeyId: 'nobody' }, code: 'STORE_DENIED' },
    { name: 'a missing bucket', more: { bucket: 'there-is-no-such-bucket' }, code: 'STORE_DENIED' },
    { name: 'a port nobody listens on', more: { endpoint: 'http://127.0.0.1:9' }, code: 'STORE_UNREACHABLE' },
  ];
  for (const { name, more, code } of refusals) {
    it(`names ${name} ${code}`, async () => {
      const body = Buffer.from('x');
      expect(await codeOf(open(more).put(`${prefix}x`, body, { sha256: sha256Hex(body), signal: never }))).to.equal(
        code,
      );
    });
  }
});
