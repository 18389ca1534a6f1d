import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../../../agent/store/manifest.ts';
import { openStore } from '../../../../agent/store/open-store.ts';
import type { ClosableStore } from '../../../../agent/store/s3.ts';
import { collectRound, newPass, roundLimits, type RoundDeps } from '../../../../operator/collecting/collect-round.ts';
import type { Living } from '../../../../operator/collecting/living.ts';
import { parseConfig, type Config } from '../../../../operator/config.ts';
import { listCheckpoints, releaseCheckpoint } from '../../../../operator/store/checkpoints.ts';
import { openObjectStore, type ObjectStore } from '../../../../operator/store/object-store.ts';
import { instancePrefix, manifestKeyOf, markOf, packObject } from '../../../../proto/store-layout.ts';
import { allOf } from '../../../fakes/all-of.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { silentLog } from '../../../fakes/silent-log.ts';

const { signal } = new AbortController();
const body = Buffer.from('x');
const hourMs = 3_600_000;
const nobody: Living = { instances: new Set(), unclear: new Set() };

describe("the operator's object store, a real one", function () {
  this.timeout(120_000);
  const prefix = `test-${randomUUID()}`;
  const [gone, lives] = [randomUUID(), randomUUID()];
  const prefixOf = (instance: string): string =>
    instancePrefix(prefix, { namespace: 'shop', workload: { kind: 'Deployment', name: 'web' }, instance });
  let config: Config;
  let agents: ClosableStore;
  let objects: ObjectStore;

  before(function () {
    if (process.env['PODFERRY_S3_ENDPOINT'] === undefined) {
      console.log('      skipped: needs PODFERRY_S3_ENDPOINT and its companions');
      this.skip();
    }
    config = parseConfig({ ...process.env, PODFERRY_S3_FORCE_PATH_STYLE: 'true' });
    const opened = openObjectStore(config.store);
    if (opened === undefined) throw new Error('it is no folder');
    objects = opened;
    agents = openStore(config.store);
  });
  beforeEach(async () => {
    for (const instance of [gone, lives]) {
      const keyPrefix = prefixOf(instance);
      const keys = ['g1', 'g2'].map((checkpoint) => manifestKeyOf({ keyPrefix, checkpoint }));
      const packs = Array.from({ length: 5 }, () => packObject(keyPrefix, randomUUID()));
      for (const key of [...keys, ...packs, markOf(keyPrefix)]) await put(key);
    }
    await put(`${prefix}/notes.txt`);
  });
  afterEach(async () => objects.delete(await keysBelow(`${prefix}/`), signal));
  after(() => {
    agents?.close();
    objects?.close();
  });

  const put = async (key: string): Promise<void> => agents.put(key, body, { sha256: sha256Hex(body), signal });
  const keysBelow = async (below: string): Promise<readonly string[]> =>
    (await allOf(agents.list(below, signal))).map(({ key }) => key).toSorted();
  const round = async (change: Partial<RoundDeps> = {}): Promise<boolean> => {
    const living = { instances: new Set([lives]), unclear: new Set<string>() };
    // Less than nothing: what was written in this second is old.
    const settings = { objects, prefix, ttlMs: -hourMs, limits: roundLimits, log: silentLog() };
    return collectRound({ ...settings, cached: () => nobody, ask: async () => living, ...change }, newPass(), signal);
  };

  it('says what time it is, by the clock that it stamps objects with', async () => {
    for await (const { atMs, objects: found } of objects.pages(prefixOf(gone), 'all', signal)) {
      for (const { modifiedMs } of found) expect(Math.abs((atMs ?? 0) - modifiedMs)).to.be.lessThan(60_000);
    }
  });

  it('is looked through level by level', async () => {
    const pages = await allOf(objects.pages(`${prefix}/`, 'folder', signal));
    expect(pages.flatMap(({ folders }) => folders)).to.deep.equal([`${prefix}/shop/`]);
    expect(pages.flatMap((page) => page.objects.map(({ key }) => key))).to.deep.equal([`${prefix}/notes.txt`]);
  });

  it('loses what an instance had that is gone, and nothing else', async () => {
    const before = await keysBelow(`${prefix}/`);
    expect(await round({ ttlMs: hourMs })).to.equal(true);
    expect(await keysBelow(`${prefix}/`)).to.deep.equal(before);
    expect(await round()).to.equal(true);
    expect(await keysBelow(`${prefix}/`)).to.deep.equal(before.filter((key) => !key.startsWith(prefixOf(gone))));
  });

  it('removes more than a thousand objects', async () => {
    const keys = Array.from({ length: 1_010 }, () => packObject(prefixOf(gone), randomUUID()));
    const left = [...keys];
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (let key = left.pop(); key !== undefined; key = left.pop()) await put(key);
      }),
    );
    await round();
    expect(await keysBelow(prefixOf(gone))).to.deep.equal([]);
  });

  it('releases one checkpoint, which then does not exist', async () => {
    const keyPrefix = prefixOf(lives);
    await releaseCheckpoint(objects, { keyPrefix, checkpoint: 'g1' }, signal);
    const left = await listCheckpoints(objects, keyPrefix, signal);
    expect(left.map(({ checkpoint }) => checkpoint)).to.deep.equal(['g2']);
    expect((await keysBelow(keyPrefix)).filter((key) => key.includes('/packs/'))).to.have.length(5);
  });

  it('denies it to who has no rights', async () => {
    const strangers = openObjectStore({ ...config.store, secretAccessKey: 'wrong' });
    if (strangers === undefined) throw new Error('it is no folder');
    expect(await codeOf(round({ objects: strangers }))).to.equal('STORE_DENIED');
    strangers.close();
  });
});
