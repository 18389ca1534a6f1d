import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { openStore } from '../../../../agent/store/open-store.ts';
import { createS3Client, defaultTimeouts } from '../../../../proto/s3/client.ts';
import { deleteTogether } from '../../../../proto/s3/delete.ts';
import type { ClosableStore } from '../../../../agent/store/s3.ts';
import { parseConfig, type Config } from '../../../../operator/config.ts';
import { createScopedStores, type ScopedStores } from '../../../../operator/store/scoped-store.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { storeConformance } from '../../../fakes/store-conformance.ts';

const { signal } = new AbortController();
const body = Buffer.from('x');
const options = { sha256: sha256Hex(body), signal };

describe('scoped credentials of a real STS', function () {
  this.timeout(60_000);
  const root = `test-${randomUUID()}/`;
  const own = `${root}ns/deployment-web/i-1/`;
  /** The second begins as the own one does, but for its last character. */
  const neighbours = [`${root}ns/deployment-web/i-2/`, `${root}ns/deployment-web/i-1`, root];
  let config: Config;
  let scoped: ScopedStores;
  let operators: ClosableStore;
  let store: ClosableStore;

  before(async function () {
    if (process.env['PODFERRY_S3_ENDPOINT'] === undefined || process.env['PODFERRY_S3_ROLE_ARN'] === undefined) {
      console.log('      skipped: needs PODFERRY_S3_ROLE_ARN, PODFERRY_S3_ENDPOINT and its companions');
      this.skip();
    }
    config = parseConfig({ ...process.env, PODFERRY_S3_FORCE_PATH_STYLE: 'true' });
    if (config.role === undefined) throw new Error('there is a role');
    scoped = createScopedStores(config.store, config.role);
    operators = openStore(config.store);
    const given = await scoped.storeFor(own, 'i-1');
    expect(given.accessKeyId).not.to.equal(config.store.accessKeyId);
    store = openStore(given);
    for (const prefix of neighbours) await operators.put(`${prefix}there`, body, options);
  });
  after(async () => {
    if (scoped === undefined) return;
    const keys: string[] = [];
    for await (const { key } of operators.list(root, signal)) keys.push(key);
    await operators.delete(keys, signal);
    for (const each of [scoped, operators, store]) each.close();
  });

  describe('on the own prefix', () =>
    storeConformance(
      () => store,
      () => own,
    ));

  it('refuse everything on the prefixes around it', async () => {
    for (const prefix of neighbours) {
      const list = async (): Promise<void> => {
        for await (const { key } of store.list(prefix, signal)) expect.fail(`sees ${key}`);
      };
      expect(await codeOf(store.put(`${prefix}new`, body, options)), `put ${prefix}`).to.equal('STORE_DENIED');
      expect(await codeOf(store.putOnce(`${prefix}new`, body, options)), `once ${prefix}`).to.equal('STORE_DENIED');
      expect(await codeOf(store.put(`${prefix}there`, body, options)), `replace ${prefix}`).to.equal('STORE_DENIED');
      expect(await codeOf(store.get(`${prefix}there`, 1, signal)), `get ${prefix}`).to.equal('STORE_DENIED');
      expect(await codeOf(store.delete([`${prefix}there`], signal)), `delete ${prefix}`).to.equal('STORE_DENIED');
      expect(await codeOf(list()), `list ${prefix}`).to.equal('STORE_DENIED');
      expect(Buffer.from(await operators.get(`${prefix}there`, 1, signal)), prefix).to.deep.equal(body);
    }
  });

  it('refuse the ways around, too: many in one request, and paths that climb', async () => {
    const [neighbour = ''] = neighbours;
    const given = await scoped.storeFor(own, 'i-1');
    const client = createS3Client(given, defaultTimeouts);
    const together = deleteTogether(client, given.bucket, [`${own}mine`, `${neighbour}there`], signal);
    expect(await codeOf(together)).to.equal('STORE_DENIED');
    client.destroy();
    for (const path of ['../i-2/there', '%2e%2e/i-2/there', './../i-2/there']) {
      const climbing = store.get(`${own}${path}`, 1, signal);
      expect(await codeOf(climbing), path).to.be.oneOf(['STORE_DENIED', 'OBJECT_MISSING']);
    }
    expect(Buffer.from(await operators.get(`${neighbour}there`, 1, signal))).to.deep.equal(body);
  });

  it('come anew when they are renewed, while the old ones still work', async () => {
    const renewed = await scoped.storeFor(own, 'i-1');
    const later = openStore(renewed);
    await later.put(`${own}by-the-new`, body, options);
    await store.put(`${own}by-the-old`, body, options);
    expect(Buffer.from(await store.get(`${own}by-the-new`, 1, signal))).to.deep.equal(body);
    later.close();
  });

  it('are worth nothing without their token, or with another one', async () => {
    const given = await scoped.storeFor(own, 'i-1');
    for (const sessionToken of [undefined, `${given.sessionToken?.slice(0, -8)}AAAAAAA=`]) {
      const forged = openStore({ ...given, sessionToken });
      expect(await codeOf(forged.get(`${own}by-the-new`, 1, signal))).to.equal('STORE_DENIED');
      forged.close();
    }
  });

  it('are not given for a role that does not exist', async () => {
    const stsEndpoint = config.role?.stsEndpoint;
    const other = createScopedStores(config.store, { arn: 'arn:aws:iam:::role/nobody', stsEndpoint });
    expect(await codeOf(other.storeFor(own, 'i-1'))).to.equal('STORE_DENIED');
    other.close();
  });
});
