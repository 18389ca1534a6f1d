import { expect } from 'chai';
import { createCollecting, everyMs, graceMs, isDue, quietMs, type Past } from '../../../agent/collecting.ts';
import type { Journal } from '../../../agent/journal.ts';
import { storeTime } from '../../../agent/store/collect-garbage.ts';
import { encodeManifest, type Manifest } from '../../../agent/store/manifest.ts';
import { OrderKind, OrderStatus, type Welcome } from '../../../proto/gen/agent/v1/agent.ts';
import { createLog } from '../../../proto/logging.ts';
import { codeOf } from '../../fakes/expect-code.ts';
import { sealingFor } from '../../fakes/sealing.ts';
import { MemoryStore } from '../../fakes/store.ts';

const serving: Journal = { role: 'serving', appPid: 7, stopped: [], draining: false };
const order = (kind: OrderKind, status: OrderStatus): Journal => ({
  ...serving,
  order: { kind, status, migrationUid: 'm', attempt: 1 },
});
const { ORDER_STATUS_DONE: done, ORDER_STATUS_FAILED: failed, ORDER_STATUS_WORKING: working } = OrderStatus;
const {
  ORDER_KIND_CONTINUE: toContinue,
  ORDER_KIND_PRECOPY: precopy,
  ORDER_KIND_CHECKPOINT: checkpoint,
  ORDER_KIND_RESUME: resume,
} = OrderKind;
const arrived = order(toContinue, done);

describe('isDue', () => {
  const past: Past = { startedMs: 0, orderedMs: 0, collectedAfter: undefined };
  const after: Past = { ...past, collectedAfter: 'm/1' };
  const cases: { name: string; journal: Journal; past?: Past; nowMs?: number; due: boolean }[] = [
    { name: 'after an hour of serving', journal: serving, due: true },
    { name: 'not before', journal: serving, nowMs: everyMs - 1, due: false },
    { name: 'at once when a move is over', journal: arrived, nowMs: 1, due: true },
    { name: 'once for each move', journal: arrived, past: after, nowMs: 1, due: false },
    { name: 'and an hour later', journal: arrived, past: after, due: true },
    { name: 'not while pages arrive', journal: { ...arrived, draining: true }, due: false },
    { name: 'not while CONTINUE is under way', journal: order(toContinue, working), nowMs: 1, due: false },
    { name: 'not for a CONTINUE that failed', journal: order(toContinue, failed), nowMs: 1, due: false },
    { name: 'not while the memory is copied ahead', journal: order(precopy, working), due: false },
    {
      name: 'not soon after it was',
      journal: order(precopy, done),
      past: { ...past, orderedMs: everyMs - quietMs + 1 },
      due: false,
    },
    {
      name: 'when no checkpoint has followed for long',
      journal: order(precopy, done),
      past: { ...past, orderedMs: everyMs - quietMs },
      due: true,
    },
    {
      name: 'not soon after a rollback: the move is tried again',
      journal: order(resume, done),
      past: { ...past, orderedMs: everyMs - 1 },
      due: false,
    },
    { name: 'not while a checkpoint is taken', journal: order(checkpoint, working), due: false },
    { name: 'at once after a checkpoint that was left running', journal: order(checkpoint, done), nowMs: 1, due: true },
    { name: 'once for each', journal: order(checkpoint, done), past: after, nowMs: 1, due: false },
    { name: 'not after one that failed', journal: order(checkpoint, failed), nowMs: 1, due: false },
    { name: 'not before the application runs', journal: { ...serving, appPid: undefined }, due: false },
    ...(['waiting', 'frozen', 'restored', 'moved'] as const).map((role) => ({
      name: `not in the role ${role}`,
      journal: { ...arrived, role },
      due: false,
    })),
  ];
  for (const c of cases) {
    it(c.name, () => expect(isDue(c.journal, c.past ?? past, c.nowMs ?? everyMs)).to.equal(c.due));
  }
});

const keyPrefix = 'p/ns/deployment-a/i-1/';
const sealing = sealingFor('i-1');
const storeNowMs = 1_000 * everyMs;
const { signal } = new AbortController();

const policy = { count: 1, ttlSeconds: 60, depth: 3 };

function setUp({ first = arrived, hasPolicy = true }: { first?: Journal; hasPolicy?: boolean } = {}) {
  const store = new MemoryStore();
  store.modifiedMs.set(`${keyPrefix}collected`, storeNowMs);
  const put = (key: string, body: Buffer, ageMs: number): void => {
    store.objects.set(`${keyPrefix}${key}`, body);
    store.modifiedMs.set(`${keyPrefix}${key}`, storeNowMs - ageMs);
  };
  const take = (id: string, ageMs: number, pack: string): void => {
    const manifest: Manifest = {
      checkpoint: id,
      instance: 'i-1',
      generation: 0,
      // Of an agent whose clock is wrong.
      takenMs: ageMs,
      facts: { criu: '4.2.1', kernel: 'k', machine: 'x86_64', cpuFlags: [] },
      rootPid: 1,
      stoppedBefore: [],
      stdio: [],
      packs: [{ key: `${keyPrefix}packs/${pack}`, bytes: 1, frames: [18], sha256: '0'.repeat(64) }],
      images: [],
      pages: [],
    };
    put(`checkpoints/${id}/manifest`, encodeManifest(manifest, sealing), ageMs);
    put(`packs/${pack}`, Buffer.from('x'), ageMs);
  };
  take('old', 3_000, 'a');
  take('new', 2_000, 'b');
  put('packs/young', Buffer.from('x'), graceMs);
  put('packs/orphan', Buffer.from('x'), graceMs + 1);

  const log = createLog('test');
  const said: string[] = [];
  const logged = log.child({});
  for (const level of ['warn', 'info', 'debug'] as const) {
    Object.assign(logged, {
      [level]: (message: string, fields?: Readonly<Record<string, unknown>>) => {
        const code = fields?.['code'];
        said.push(`${level} ${message}${typeof code === 'string' ? ` ${code}` : ''}`);
      },
    });
  }
  const welcome: Welcome = {
    store: undefined,
    keyPrefix,
    generation: 0,
    instance: 'i-1',
    dataKey: sealing.key,
    keyId: sealing.id,
    retention: hasPolicy ? policy : undefined,
  };
  const stored: (readonly string[])[] = [];
  let journal = first;
  let nowMs = 5;
  const collecting = createCollecting({
    log: logged,
    now: () => nowMs,
    journal: () => journal,
    home: () => ({ welcome, store }),
    onStored: (ids) => void stored.push(ids),
  });
  return {
    store,
    said,
    stored,
    collecting,
    keys: () => [...store.objects.keys()].map((key) => key.slice(keyPrefix.length)).toSorted(),
    become: (next: Journal) => void (journal = next),
    at: (ms: number) => void (nowMs = ms),
    collect: async () => {
      collecting.look();
      await collecting.settled();
    },
  };
}

const everything = [
  'checkpoints/new/manifest',
  'checkpoints/old/manifest',
  'packs/a',
  'packs/b',
  'packs/orphan',
  'packs/young',
];

describe('collecting', () => {
  it('removes what the policy lets go, by the clock of the store alone, and spares young packs', async () => {
    const { collect, keys, said, stored } = setUp();
    await collect();
    expect(stored).to.deep.equal([['new']]);
    expect(keys()).to.deep.equal(['checkpoints/new/manifest', 'collected', 'packs/b', 'packs/young']);
    expect(said).to.deep.equal(['info garbage collected']);
  });

  it('keeps what the application may be restored from again', async () => {
    const restoredFrom = { id: 'old', manifestKey: `${keyPrefix}checkpoints/old/manifest`, manifestSha256: '' };
    const { collect, keys } = setUp({ first: { ...arrived, restoredFrom } });
    await collect();
    expect(keys()).to.include('checkpoints/old/manifest').and.include('packs/a').and.not.include('packs/orphan');
  });

  it('removes nothing without a policy, and asks the store nothing', async () => {
    const { collect, keys } = setUp({ hasPolicy: false });
    await collect();
    expect(keys()).to.deep.equal(everything);
  });

  it('is done once for a move, and every hour', async () => {
    const { collect, store, keys, at } = setUp();
    const isTouched = async (): Promise<boolean> => {
      store.objects.delete(`${keyPrefix}collected`);
      await collect();
      return keys().includes('collected');
    };
    expect(await isTouched()).to.equal(true);
    expect(await isTouched()).to.equal(false);
    at(5 + everyMs);
    expect(await isTouched()).to.equal(true);
  });

  it('says what went wrong, and tries again an hour later', async () => {
    const { collect, store, keys, at, said } = setUp();
    store.refusesDeletesFrom = 0;
    await collect();
    await collect();
    expect(said).to.deep.equal(['warn garbage could not be collected; trying again in an hour STORE_WRITE_FAILED']);
    expect(keys()).to.deep.equal([
      'checkpoints/new/manifest',
      'checkpoints/old/manifest',
      'collected',
      ...everything.slice(2),
    ]);
    store.refusesDeletesFrom = Number.POSITIVE_INFINITY;
    at(5 + everyMs);
    await collect();
    expect(keys()).to.not.include('packs/a');
  });

  it('is broken off by an order, and quietly', async () => {
    const { collecting, store, keys, said, become } = setUp();
    store.hangs = true;
    collecting.look();
    become(order(precopy, working));
    await collecting.breakOff();
    store.hangs = false;
    collecting.look();
    await collecting.settled();
    expect(keys()).to.deep.equal(everything);
    expect(said).to.deep.equal(['debug garbage is collected later: an order came']);
  });
});

describe('storeTime', () => {
  it('is what the store says of a mark just written', async () => {
    const store = new MemoryStore();
    store.modifiedMs.set('p/collected', 42);
    expect(await storeTime(store, 'p/', signal)).to.equal(42);
  });

  it('is not guessed when the store does not list the mark', async () => {
    const store = new MemoryStore();
    store.put = async () => Promise.resolve();
    expect(await codeOf(storeTime(store, 'p/', signal))).to.equal('STORE_READ_FAILED');
  });
});
