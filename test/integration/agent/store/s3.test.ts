import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { createS3Store, type ClosableStore, type S3Settings } from '../../../../agent/store/s3.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { storeConformance } from '../../../fakes/store-conformance.ts';

const never = new AbortController().signal;

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

  storeConformance(() => open());

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
