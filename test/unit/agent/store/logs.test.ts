import { expect } from 'chai';
import { readLogs, sealLog, storeLog } from '../../../../agent/store/logs.ts';
import { parseManifest } from '../../../../agent/store/manifest.ts';
import { codeOf } from '../../../fakes/expect-code.ts';
import { sealingFor } from '../../../fakes/sealing.ts';
import { MemoryStore } from '../../../fakes/store.ts';

const sealing = sealingFor('i-1');
const place = { keyPrefix: 'p/i-1/', checkpoint: 'c-1' };
const { signal } = new AbortController();
const secret = 'Dumping path for 3 fd via self 14 [/srv/customers.db]\n'.repeat(100);
const dumpLog = { name: 'dump.log', content: Buffer.from(secret) };

describe('agent/store/logs', () => {
  it('gives back what was put, and shows nothing of it in the store', async () => {
    const store = new MemoryStore();
    await storeLog(store, place, dumpLog, sealing, signal);
    await storeLog(store, place, { name: 'target.json', content: Buffer.from('{}') }, sealing, signal);
    expect([...store.objects.keys()]).to.have.members([
      'p/i-1/checkpoints/c-1/logs/dump.log',
      'p/i-1/checkpoints/c-1/logs/target.json',
    ]);
    for (const body of store.objects.values()) expect(body.includes('customers')).to.equal(false);
    const logs = await readLogs(store, place, sealing, signal);
    expect(logs.map(({ name, content }) => [name, content.toString()])).to.deep.equal([
      ['dump.log', secret],
      ['target.json', '{}'],
    ]);
    expect(await readLogs(store, { ...place, checkpoint: 'c-2' }, sealing, signal)).to.deep.equal([]);
  });

  const key = 'p/i-1/checkpoints/c-1/logs/dump.log';
  const whole = sealLog('c-1', dumpLog, sealing);
  const flipped = Buffer.from(whole);
  flipped.writeUInt8(flipped.readUInt8(flipped.byteLength - 20) ^ 1, flipped.byteLength - 20);
  const cases = [
    { name: 'a flipped bit', body: flipped, code: 'OBJECT_CORRUPT' },
    { name: 'its end missing', body: whole.subarray(0, -1), code: 'OBJECT_CORRUPT' },
    { name: 'another checkpoint', body: sealLog('c-2', dumpLog, sealing), code: 'MANIFEST_INVALID' },
    {
      name: 'another log',
      body: sealLog('c-1', { ...dumpLog, name: 'restore.log' }, sealing),
      code: 'MANIFEST_INVALID',
    },
    { name: 'another instance', body: sealLog('c-1', dumpLog, sealingFor('i-2')), code: 'MANIFEST_INVALID' },
    { name: 'another key', body: sealLog('c-1', dumpLog, sealingFor('i-1')), code: 'KEY_WRONG' },
    { name: 'no log at all', body: Buffer.from('dump.log'), code: 'MANIFEST_INVALID' },
  ];
  for (const { name, body, code } of cases) {
    it(`refuses ${name}: ${code}`, async () => {
      const store = new MemoryStore();
      store.objects.set(key, Buffer.from(body));
      expect(await codeOf(readLogs(store, place, sealing, signal))).to.equal(code);
    });
  }

  it('is no manifest', () => {
    expect(() => parseManifest(whole, sealing)).to.throw('it is no manifest of Podferry');
  });
});
