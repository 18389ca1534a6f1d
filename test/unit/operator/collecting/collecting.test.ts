import { expect } from 'chai';
import { startCollecting, usualTimes } from '../../../../operator/collecting/collecting.ts';
import { systemClock } from '../../../../operator/clock.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { createLog, type Log } from '../../../../proto/logging.ts';
import { answering } from '../../../fakes/kube-client.ts';
import { ListedObjects } from '../../../fakes/listed-objects.ts';
import { pod } from '../../../fakes/operator-objects.ts';
import { eventually } from '../../../fakes/until.ts';

const [gone, lives] = ['11111111-2222-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222'];
const keyOf = (instance: string): string => `default/deployment-web/${instance}/packs/${gone}`;

describe('operator/collecting/collecting', () => {
  const soon = { ...usualTimes, firstMs: 1, everyMs: 2, goOnMs: 1 };
  let store: ListedObjects;
  let lists: number;
  let said: { readonly level: string; readonly message: string; readonly fields: Record<string, unknown> }[];
  let running: { stop(): Promise<void> };
  const log: Log = createLog('test');
  log.silent = true;
  log.log = ((level: string, message: string, fields: Record<string, unknown>) => {
    said.push({ level, message, fields });
    return log;
  }) as Log['log'];
  log.info = ((message: string, fields: Record<string, unknown>) => {
    said.push({ level: 'info', message, fields });
    return log;
  }) as Log['info'];

  beforeEach(() => {
    store = new ListedObjects();
    store.nowMs = Date.now();
    lists = 0;
    said = [];
    store.beforeAnswer = ({ list }) => void (lists += list === '' ? 1 : 0);
  });
  afterEach(async () => running.stop());

  const start = (times = soon): void => {
    const client = answering(() => ({ metadata: {}, items: [] }));
    const pods = { list: () => [pod({ metadata: { uid: lives } })] };
    const migrations = { list: () => [] };
    const settings = { prefix: '', ttlMs: 1_000, clock: systemClock };
    running = startCollecting({ ...settings, objects: store, client, pods, migrations, log, times });
  };
  const loud = (): readonly string[] => said.filter(({ level }) => level !== 'debug').map(({ level }) => level);

  it('looks again and again, and tells once of each instance and of what is not ours', async () => {
    for (const key of [keyOf(gone), keyOf(lives), 'README']) store.put(key, 1);
    start();
    await eventually('several looks', () => lists > 3);
    expect(store.below('')).to.deep.equal([keyOf(lives), 'README'].toSorted());
    expect(said.map(({ fields }) => fields)).to.deep.equal([
      { keyPrefix: `default/deployment-web/${gone}/`, checkpoints: 0, objects: 1 },
      { count: 1, example: 'README' },
    ]);
  });

  for (const [code, level] of [
    ['STORE_DENIED', 'error'],
    ['STORE_UNREACHABLE', 'warn'],
  ] as const) {
    it(`tells once that it failed, as ${level} with ${code}, and once more after it had succeeded`, async () => {
      let fails = true;
      store.beforeAnswer = () => {
        lists += 1;
        if (fails) throw new PodferryError(code, 'simulated');
      };
      start();
      await eventually('several failures', () => lists > 3);
      expect(loud()).to.deep.equal([level]);
      expect(said[0]?.fields).to.include({ code });
      fails = false;
      lists = 0;
      await eventually('success', () => lists > 1);
      fails = true;
      lists = 0;
      await eventually('several failures again', () => lists > 3);
      expect(loud()).to.deep.equal([level, level]);
    });
  }

  it('gives a round up that takes too long', async () => {
    const slow = { ...soon, deadlineMs: 1, everyMs: 100_000, goOnMs: 100_000 };
    store.hangs = true;
    start(slow);
    await eventually('it was given up', () => said.length > 0);
    expect(said[0]?.fields).to.include({ code: 'DEADLINE_EXCEEDED' });
  });

  it('begins nothing before its time, and nothing after it was stopped, which ends what is under way without a word', async () => {
    start({ ...soon, firstMs: 100_000 });
    await running.stop();
    expect(lists).to.equal(0);
    store.beforeAnswer = () => {
      lists += 1;
      void running.stop();
    };
    store.put(keyOf(gone), 1);
    start();
    await eventually('it looks', () => lists > 0);
    await running.stop();
    expect(store.below('')).to.have.length(1);
    expect(said).to.deep.equal([]);
  });
});
