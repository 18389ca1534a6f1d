import { expect } from 'chai';
import * as fc from 'fast-check';
import { collectGarbage } from '../../../../agent/store/collect-garbage.ts';
import { encodeManifest, type Manifest } from '../../../../agent/store/manifest.ts';
import { findGarbage, type LiveCheckpoint, type RetentionPolicy } from '../../../../agent/store/retention.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const hour = 3_600_000;
const policy: RetentionPolicy = { ttlMs: 24 * hour, count: 3, depth: 5, graceMs: hour };
const keyPrefix = 'p/ns/deployment-a/i-1/';
const sealing = sealingFor('i-1');
const never = new AbortController().signal;

const live = (id: string, takenMs: number, packs: readonly string[]): LiveCheckpoint => ({
  id,
  manifestKey: `${keyPrefix}checkpoints/${id}/manifest`,
  storedMs: takenMs,
  takenMs,
  packs,
});
const packs = (...keys: string[]) => keys.map((key) => ({ key, modifiedMs: 0 }));

describe('retention', () => {
  const now = 100 * hour;
  const cases: {
    name: string;
    checkpoints: LiveCheckpoint[];
    pinned?: string[];
    goes: string[];
    packsGone: string[];
    tooDeep?: string[];
  }[] = [
    { name: 'keeps the newest, however old', checkpoints: [live('a', 0, ['1'])], goes: [], packsGone: ['2', '3', '4'] },
    {
      name: 'lets go what is too old',
      checkpoints: [live('a', now - 25 * hour, ['1', '2']), live('b', now, ['2', '3'])],
      goes: ['a'],
      packsGone: ['1', '4'],
    },
    {
      name: 'lets go what is too many',
      checkpoints: [
        live('a', now - 3, ['1']),
        live('b', now - 2, ['2']),
        live('c', now - 1, ['3']),
        live('d', now, ['4']),
      ],
      goes: ['a'],
      packsGone: ['1'],
    },
    {
      name: 'keeps what is in use',
      checkpoints: [live('a', 0, ['1']), live('b', now, ['2'])],
      pinned: ['a'],
      goes: [],
      packsGone: ['3', '4'],
    },
    {
      name: 'says what reaches too far back',
      checkpoints: Array.from({ length: 7 }, (_, i) => live(`${i}`, now - i, i === 0 || i === 6 ? ['1', '2'] : ['3'])),
      pinned: ['0', '1', '2', '3', '4', '5', '6'],
      goes: [],
      packsGone: ['4'],
      tooDeep: ['0'],
    },
    { name: 'has nothing to say of nothing', checkpoints: [], goes: [], packsGone: ['1', '2', '3', '4'] },
  ];
  for (const { name, checkpoints, pinned, goes, packsGone, tooDeep = [] } of cases) {
    it(name, () => {
      const found = findGarbage(checkpoints, packs('1', '2', '3', '4'), policy, now, new Set(pinned));
      expect(found.checkpoints.map(({ id }) => id)).to.deep.equal(goes);
      expect(found.packs).to.deep.equal(packsGone);
      expect(found.tooDeep.map(({ id }) => id)).to.deep.equal(tooDeep);
    });
  }

  it('leaves a young pack that nothing names alone, and one of a checkpoint that goes not', () => {
    const young = [
      { key: 'u', modifiedMs: now - hour / 2 },
      { key: '1', modifiedMs: now },
    ];
    const found = findGarbage([live('a', 0, ['1']), live('b', now, [])], young, policy, now);
    expect(found.packs).to.deep.equal(['1']);
  });
});

describe('retention of logs', () => {
  const now = 100 * hour;
  const log = (checkpoint: string, modifiedMs = 0) => ({ key: `${checkpoint}/logs/dump.log`, checkpoint, modifiedMs });

  it('lets them go with their checkpoint, young as they may be', () => {
    const checkpoints = [live('a', 0, []), live('b', now, [])];
    const { logs } = findGarbage(checkpoints, [], policy, now, new Set(), [log('a', now), log('b')]);
    expect(logs).to.deep.equal(['a/logs/dump.log']);
  });

  it('lets those of no checkpoint go when nobody can be about to complete it', () => {
    const stray = [log('x', now - 2 * hour), log('y', now - hour / 2)];
    expect(findGarbage([live('b', now, [])], [], policy, now, new Set(), stray).logs).to.deep.equal([
      'x/logs/dump.log',
    ]);
  });
});

function manifestOf(id: string, takenMs: number, names: readonly number[]): Manifest {
  return {
    checkpoint: id,
    instance: 'i-1',
    generation: 0,
    takenMs,
    facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
    rootPid: 1,
    stoppedBefore: [],
    stdio: [],
    packs: names.map((n) => ({ key: `${keyPrefix}packs/${n}`, bytes: 1, frames: [18], sha256: '0'.repeat(64) })),
    images: [],
    pages: [],
  };
}

/** A store with packs 0..n-1, and checkpoints that name some of them. */
function storeOf(
  packCount: number,
  checkpoints: readonly { takenMs: number; names: readonly number[] }[],
): MemoryStore {
  const store = new MemoryStore();
  for (let i = 0; i < packCount; i += 1) store.objects.set(`${keyPrefix}packs/${i}`, Buffer.from('x'));
  for (const [i, { takenMs, names }] of checkpoints.entries()) {
    const key = `${keyPrefix}checkpoints/c-${i}/manifest`;
    store.objects.set(key, encodeManifest(manifestOf(`c-${i}`, takenMs, names), sealing));
    store.modifiedMs.set(key, takenMs);
    // Beside every other one.
    if (i % 2 === 0) store.objects.set(`${keyPrefix}checkpoints/c-${i}/logs/dump.log`, Buffer.from('x'));
  }
  return store;
}

describe('collectGarbage', () => {
  const now = 1000 * hour;
  const collect = (store: MemoryStore, more: Partial<Parameters<typeof collectGarbage>[0]> = {}) =>
    collectGarbage({ store, keyPrefix, sealing, policy, nowMs: now, signal: never, ...more });

  it('removes what the policy lets go, and nothing of another instance', async () => {
    const store = storeOf(4, [
      { takenMs: 0, names: [0, 1] },
      { takenMs: now, names: [1, 2] },
    ]);
    store.objects.set('p/ns/deployment-a/i-10/packs/9', Buffer.from('x'));
    const { packs: gone } = await collect(store);
    expect(gone).to.deep.equal([`${keyPrefix}packs/0`, `${keyPrefix}packs/3`]);
    expect([...store.objects.keys()].toSorted()).to.deep.equal([
      `${keyPrefix}checkpoints/c-1/manifest`,
      `${keyPrefix}packs/1`,
      `${keyPrefix}packs/2`,
      'p/ns/deployment-a/i-10/packs/9',
    ]);
  });

  it('removes nothing while one manifest cannot be read', async () => {
    for (const [code, damage] of [
      [
        'OBJECT_CORRUPT',
        (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(bytes.byteLength - 1) ^ 1, bytes.byteLength - 1),
      ],
      ['MANIFEST_INVALID', (bytes: Buffer) => bytes.fill(0)],
    ] as const) {
      const store = storeOf(4, [
        { takenMs: 0, names: [0] },
        { takenMs: now, names: [1] },
      ]);
      damage(store.objects.get(`${keyPrefix}checkpoints/c-0/manifest`) ?? Buffer.alloc(1));
      expect(await codeOf(collect(store))).to.equal(code);
      expect(store.objects.size).to.equal(7);
    }
    expect(await codeOf(collect(storeOf(1, [{ takenMs: 0, names: [0] }]), { sealing: sealingFor('i-1') }))).to.equal(
      'KEY_WRONG',
    );
  });

  it('removes nothing when a manifest was put in place of another', async () => {
    const store = storeOf(2, [
      { takenMs: now - 1, names: [0] },
      { takenMs: now, names: [1] },
    ]);
    const stranger = store.objects.get(`${keyPrefix}checkpoints/c-1/manifest`) ?? Buffer.alloc(0);
    store.objects.set(`${keyPrefix}checkpoints/c-0/manifest`, stranger);
    expect(await codeOf(collect(store))).to.equal('MANIFEST_INVALID');
    expect(store.objects.size).to.equal(5);
  });

  it('leaves the packs of a checkpoint that is completed while it works', async () => {
    const store = storeOf(2, [{ takenMs: now - 2 * hour, names: [0] }]);
    const late = encodeManifest(manifestOf('late', now, [0, 1]), sealing);
    const list = store.list.bind(store);
    let lists = 0;
    store.list = async function* slow(prefix, signal) {
      yield* list(prefix, signal);
      lists += 1;
      if (lists === 3) store.objects.set(`${keyPrefix}checkpoints/late/manifest`, late);
    };
    await collect(store);
    expect(store.objects.has(`${keyPrefix}packs/1`)).to.equal(true);
  });

  it('never removes a pack that a checkpoint names, wherever it is broken off, and ends with no orphan', async () => {
    const packCount = 8;
    const names = fc.uniqueArray(fc.nat(packCount - 1));
    const history = fc.array(fc.record({ takenMs: fc.integer({ min: 0, max: now }), names }), { maxLength: 6 });
    const policies = fc.record({
      ttlMs: fc.integer({ min: 0, max: now }),
      count: fc.nat(5),
      depth: fc.nat(5),
      graceMs: fc.constant(hour),
    });
    await fc.assert(
      fc.asyncProperty(
        history,
        policies,
        fc.nat(10),
        fc.uniqueArray(fc.nat(5)),
        async (checkpoints, random, at, pins) => {
          const store = storeOf(packCount, checkpoints);
          const pinned = new Set(pins.map((i) => `c-${i}`));
          store.refusesDeletesFrom = at;
          const first = await codeOf(collect(store, { policy: random, pinned }));
          expect(first).to.be.oneOf(['undefined', 'STORE_WRITE_FAILED']);
          const complete = (): void => {
            for (const [i, checkpoint] of checkpoints.entries()) {
              if (!store.objects.has(`${keyPrefix}checkpoints/c-${i}/manifest`)) continue;
              for (const name of checkpoint.names)
                expect(store.objects.has(`${keyPrefix}packs/${name}`)).to.equal(true);
            }
          };
          complete();
          store.refusesDeletesFrom = Number.POSITIVE_INFINITY;
          await collect(store, { policy: random, pinned });
          complete();
          for (const i of pins.filter((pin) => pin < checkpoints.length)) {
            expect(store.objects.has(`${keyPrefix}checkpoints/c-${i}/manifest`)).to.equal(true);
          }
          const kept = checkpoints.filter((_, i) => store.objects.has(`${keyPrefix}checkpoints/c-${i}/manifest`));
          expect(kept.length > 0).to.equal(checkpoints.length > 0);
          const named = new Set(kept.flatMap((checkpoint) => checkpoint.names));
          expect([...store.objects.keys()].filter((key) => key.includes('/packs/'))).to.have.length(named.size);
          for (const i of checkpoints.keys()) {
            const [hasManifest, hasLog] = ['manifest', 'logs/dump.log'].map((name) =>
              store.objects.has(`${keyPrefix}checkpoints/c-${i}/${name}`),
            );
            expect(hasLog).to.equal(hasManifest === true && i % 2 === 0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
