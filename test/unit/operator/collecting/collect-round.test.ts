import { expect } from 'chai';
import { collectRound, newPass, roundLimits, type RoundDeps } from '../../../../operator/collecting/collect-round.ts';
import type { Living } from '../../../../operator/collecting/living.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { instancePrefix, logsBelow, manifestKeyOf, markOf, packObject } from '../../../../proto/store-layout.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { apiError } from '../../../fakes/kube-client.ts';
import { ListedObjects } from '../../../fakes/listed-objects.ts';
import { silentLog } from '../../../fakes/silent-log.ts';

const ttlMs = 1_000;
const nowMs = 1_000_000;
const nobody: Living = { instances: new Set(), unclear: new Set() };
const livesIn = (...instances: readonly string[]): Living => ({ instances: new Set(instances), unclear: new Set() });
const uid = (n: number): string => `0000000${n}-0000-4000-8000-000000000000`;

/** One checkpoint with everything that belongs to it. */
function fill(store: ListedObjects, n: number, namespace = 'shop', prefix = 'p', modifiedMs = 1): string {
  const workload = { kind: 'Deployment', name: 'web' };
  const keyPrefix = instancePrefix(prefix, { namespace, workload, instance: uid(n) });
  const place = { keyPrefix, checkpoint: 'g1-abc' };
  const keys = [manifestKeyOf(place), `${logsBelow(place)}dump.log`, packObject(keyPrefix, uid(9)), markOf(keyPrefix)];
  for (const key of keys) store.put(key, modifiedMs);
  return keyPrefix;
}

describe('operator/collecting/collect-round', () => {
  const { signal } = new AbortController();
  let store: ListedObjects;
  let pass: ReturnType<typeof newPass>;
  beforeEach(() => {
    store = new ListedObjects();
    store.nowMs = nowMs;
    pass = newPass();
  });
  const round = async (change: Partial<RoundDeps> = {}, until: AbortSignal = signal): Promise<boolean> =>
    collectRound(
      {
        objects: store,
        prefix: 'p',
        ttlMs,
        cached: () => nobody,
        ask: async () => nobody,
        limits: roundLimits,
        log: silentLog(),
        ...change,
      },
      pass,
      until,
    );

  for (const prefix of ['', 'p', 'p/q']) {
    it(`removes who is gone and leaves who lives, and who is gone since a moment, below "${prefix}"`, async () => {
      fill(store, 1, 'shop', prefix);
      const lives = fill(store, 2, 'shop', prefix);
      const young = fill(store, 3, 'shop', prefix, nowMs - ttlMs);
      const unclear = fill(store, 4, 'bank', prefix);
      const living = { ...livesIn(uid(2)), unclear: new Set(['bank']) };
      expect(await round({ prefix, ask: async () => living })).to.equal(true);
      const left = [lives, young, unclear].flatMap((keyPrefix) => store.below(keyPrefix));
      expect(store.below('')).to.deep.equal(left.toSorted());
      expect(pass).to.include({ foreign: 0, failure: undefined });
    });
  }

  it('leaves what has no place in the layout, wherever it is, and counts it', async () => {
    const keyPrefix = fill(store, 1);
    const foreign = [
      'p/notes.txt',
      'p/Shop/deployment-web/x',
      'p/shop/readme',
      'p/shop/web/x',
      'p/shop/deployment-web/latest',
      'p/shop/deployment-web/i-1/packs/x',
      `${keyPrefix}packs/mine`,
      `${keyPrefix}checkpoints/g1/manifest.bak`,
    ];
    for (const key of [...foreign, 'q/not-below-it']) store.put(key, 1);
    await round();
    expect(store.below('')).to.deep.equal([...foreign, 'q/not-below-it'].toSorted());
    expect(pass.foreign).to.equal(foreign.length);
  });

  it('does not ask the API server about who has nothing that could go', async () => {
    fill(store, 1, 'shop', 'p', nowMs);
    store.put(`p/shop/deployment-web/${uid(2)}/notes.txt`, 1);
    let asked = 0;
    const ask = async (): Promise<Living> => {
      asked += 1;
      return nobody;
    };
    await round({ ask });
    expect(asked).to.equal(0);
  });

  it('keeps the packs of an instance that has a manifest of an unusual name', async () => {
    const keyPrefix = fill(store, 1);
    store.put(`${keyPrefix}checkpoints/_odd_/manifest`, 1);
    await round();
    expect(store.below(keyPrefix)).to.include(packObject(keyPrefix, uid(9)));
  });

  for (const [who, lives] of [
    ['who lives by the caches alone', { cached: () => livesIn(uid(1)) }],
    ['who has just appeared', { ask: async () => livesIn(uid(1)) }],
  ] as const) {
    it(`removes nothing of ${who}`, async () => {
      const keyPrefix = fill(store, 1);
      await round(lives);
      expect(store.below(keyPrefix)).to.have.length(4);
    });
  }

  it('keeps the packs for one that came when the manifests went', async () => {
    const keyPrefix = fill(store, 1);
    let asked = 0;
    await round({ ask: async () => ((asked += 1) === 1 ? nobody : livesIn(uid(1))) });
    expect(store.below(keyPrefix)).to.deep.equal(fillKeysWithoutManifest(keyPrefix));
  });

  it('keeps the packs for a checkpoint whose instance came and went meanwhile', async () => {
    const keyPrefix = fill(store, 1);
    const late = manifestKeyOf({ keyPrefix, checkpoint: 'g2' });
    let asked = 0;
    await round({
      ask: async () => {
        if ((asked += 1) === 2) store.put(late);
        return nobody;
      },
    });
    expect(store.below(keyPrefix)).to.deep.equal([late, ...fillKeysWithoutManifest(keyPrefix)].toSorted());
  });

  it('removes nothing in a namespace that it cannot see, goes on with the others, and says so', async () => {
    const hidden = fill(store, 1, 'bank');
    fill(store, 2, 'shop');
    const ask = async (namespace: string): Promise<Living> => {
      if (namespace === 'bank') throw apiError(403, 'Forbidden');
      return nobody;
    };
    expect(await round({ ask })).to.equal(true);
    expect(store.below('')).to.deep.equal(store.below(hidden)).and.have.length(4);
    expect(pass.failure).to.include({ status: 403 });
  });

  it('leaves what may not be removed, and goes on with others', async () => {
    fill(store, 1, 'bank');
    fill(store, 2, 'shop');
    store.beforeAnswer = ({ remove }) => {
      if (remove?.includes('bank') === true) throw new PodferryError('STORE_DENIED', 'locked');
    };
    await round();
    expect(store.below('p/shop')).to.deep.equal([]);
    expect(store.below('p/bank')).to.have.length(4);
    expect(pass.failure).to.include({ code: 'STORE_DENIED' });
  });

  it('ends when the store is away', async () => {
    fill(store, 1);
    store.beforeAnswer = ({ remove }) => {
      if (remove !== undefined) throw new PodferryError('STORE_UNREACHABLE', 'away');
    };
    expect(await codeOf(round())).to.equal('STORE_UNREACHABLE');
  });

  it('removes nothing when the store does not say what time it is, or when something was written', async () => {
    const keyPrefix = fill(store, 1);
    store.put(markOf(keyPrefix), 0);
    await round();
    store.put(markOf(keyPrefix), 1);
    store.tellsTime = false;
    pass = newPass();
    expect(await codeOf(round())).to.equal('STORE_READ_FAILED');
    expect(store.below(keyPrefix)).to.have.length(4);
  });

  it('ends with its signal, and begins nothing more', async () => {
    const keyPrefix = fill(store, 1);
    const stop = new AbortController();
    const ask = async (): Promise<Living> => {
      stop.abort(new PodferryError('CANCELLED', 'stop'));
      return nobody;
    };
    expect(await codeOf(round({ ask }, stop.signal))).to.equal('CANCELLED');
    expect(store.below(keyPrefix)).to.have.length(4);
  });

  it('looks through the store in several rounds when it is large, and counts what is foreign once', async () => {
    for (let n = 1; n < 9; n += 1) fill(store, n, n % 2 === 0 ? 'bank' : 'shop');
    for (const key of ['p/a.txt', 'p/z.txt', 'p/bank/x', 'p/shop/z']) store.put(key, 1);
    let lists = 0;
    let most = 0;
    store.beforeAnswer = ({ list }) => void (lists += list === undefined ? 0 : 1);
    let rounds = 1;
    while (!(await round({ limits: { pages: 12, deletes: 1_000 } }))) {
      most = Math.max(most, lists);
      lists = 0;
      rounds += 1;
    }
    expect(rounds).to.be.greaterThan(2);
    expect(most).to.be.lessThan(20);
    expect(store.below('').filter((key) => key.includes('packs'))).to.deep.equal([]);
    expect(pass.foreign).to.equal(4);
  });
});

const fillKeysWithoutManifest = (keyPrefix: string): readonly string[] => [
  `${logsBelow({ keyPrefix, checkpoint: 'g1-abc' })}dump.log`,
  markOf(keyPrefix),
  packObject(keyPrefix, uid(9)),
];
