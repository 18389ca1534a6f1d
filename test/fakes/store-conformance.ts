import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { sha256Hex } from '../../agent/store/manifest.ts';
import type { Store } from '../../agent/store/store.ts';
import { codeOf } from './expect-code.ts';

const never = new AbortController().signal;
const put = async (store: Store, key: string, body: Buffer): Promise<void> =>
  store.put(key, body, { sha256: sha256Hex(body), signal: never });

async function keysOf(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, never)) keys.push(key);
  return keys.toSorted();
}

/** What every store promises. Adds its tests to the suite it is called in. @param below what the keys begin with */
export function storeConformance(open: () => Store, below: () => string = () => ''): void {
  let prefix = '';
  beforeEach(() => {
    prefix = `${below()}test-${randomUUID()}/a/`;
  });

  it('gives back what was written, whole and in parts, small and large', async () => {
    const store = open();
    for (const bytes of [1, 4096, 3_000_001]) {
      const body = randomBytes(bytes);
      await put(store, `${prefix}${bytes}`, body);
      const target = Buffer.alloc(4 * 1024 * 1024);
      await store.read(`${prefix}${bytes}`, target, bytes, never);
      expect(target.subarray(0, bytes).equals(body)).to.equal(true);
      expect(Buffer.compare(await store.get(`${prefix}${bytes}`, bytes, never), body)).to.equal(0);
      const from = Math.floor(bytes / 3);
      const length = Math.ceil(bytes / 2);
      await store.readRange(`${prefix}${bytes}`, from, target, length, never);
      expect(target.subarray(0, length).equals(body.subarray(from, from + length))).to.equal(true);
    }
  });

  it('reads many parts at a time, also into shared memory', async () => {
    const store = open();
    const body = randomBytes(1_000_000);
    await put(store, `${prefix}x`, body);
    const target = Buffer.from(new SharedArrayBuffer(body.byteLength));
    const part = 100_000;
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.readRange(`${prefix}x`, i * part, target.subarray(i * part), part, never),
      ),
    );
    expect(target.equals(body)).to.equal(true);
    const shared = Buffer.from(new SharedArrayBuffer(1000)).fill(7);
    await put(store, `${prefix}y`, shared);
    expect(Buffer.compare(await store.get(`${prefix}y`, 1000, never), shared)).to.equal(0);
  });

  it('replaces an object whole', async () => {
    const store = open();
    await put(store, `${prefix}x`, Buffer.from('long before'));
    await put(store, `${prefix}x`, Buffer.from('after'));
    expect(Buffer.from(await store.get(`${prefix}x`, 100, never)).toString()).to.equal('after');
  });

  it('takes no bytes of another digest', async () => {
    const store = open();
    const work = store.put(`${prefix}bad`, randomBytes(1000), {
      sha256: sha256Hex(Buffer.from('other')),
      signal: never,
    });
    expect(await codeOf(work)).to.be.oneOf(['STORE_WRITE_FAILED', 'STORE_DENIED']);
    expect(await codeOf(store.get(`${prefix}bad`, 1000, never))).to.equal('OBJECT_MISSING');
  });

  it('lets exactly one of many win a key, and the winner again', async () => {
    const store = open();
    const bodies = Array.from({ length: 8 }, () => randomBytes(1000));
    const once = (body: Buffer): Promise<string> =>
      codeOf(store.putOnce(`${prefix}once`, body, { sha256: sha256Hex(body), signal: never }));
    const codes = await Promise.all(bodies.map(once));
    expect(codes.filter((code) => code === 'undefined')).to.have.length(1);
    expect(codes.filter((code) => code === 'STORE_WRITE_FAILED')).to.have.length(7);
    const winner = bodies[codes.indexOf('undefined')] ?? Buffer.alloc(0);
    expect(Buffer.compare(await store.get(`${prefix}once`, 1000, never), winner)).to.equal(0);
    expect(await once(winner)).to.equal('undefined');
  });

  it('lists what begins with a prefix, and nothing else', async () => {
    const store = open();
    expect(await keysOf(store, prefix)).to.deep.equal([]);
    const before = Date.now();
    for (const name of ['packs/1', 'packs/2', 'packs-not', 'deep/er/3'])
      await put(store, `${prefix}${name}`, Buffer.from(name));
    expect(await keysOf(store, `${prefix}packs/`)).to.deep.equal([`${prefix}packs/1`, `${prefix}packs/2`]);
    expect(await keysOf(store, `${prefix}p`)).to.have.length(3);
    expect(await keysOf(store, prefix)).to.have.length(4);
    for await (const object of store.list(`${prefix}deep/`, never)) {
      expect(object).to.include({ key: `${prefix}deep/er/3`, bytes: 9 });
      // Stores keep whole seconds, by clocks of their own.
      expect(object.modifiedMs).to.satisfy((ms: number) => ms === 0 || Math.abs(ms - before) < 120_000);
    }
  });

  it('removes objects, and those that are not there too', async () => {
    const store = open();
    for (const name of ['a', 'b', 'c']) await put(store, `${prefix}${name}`, Buffer.from(name));
    await store.delete([`${prefix}a`, `${prefix}nothing`, `${prefix}c`], never);
    expect(await keysOf(store, prefix)).to.deep.equal([`${prefix}b`]);
    await store.delete([], never);
  });

  it('names what is wrong', async () => {
    const store = open();
    await put(store, `${prefix}x`, randomBytes(1000));
    const target = Buffer.alloc(2000);
    const cases: [string, string, () => Promise<unknown>][] = [
      ['get of nothing', 'OBJECT_MISSING', () => store.get(`${prefix}none`, 10, never)],
      ['read of nothing', 'OBJECT_MISSING', () => store.read(`${prefix}none`, target, 10, never)],
      ['a part of nothing', 'OBJECT_MISSING', () => store.readRange(`${prefix}none`, 0, target, 10, never)],
      ['a longer object', 'OBJECT_CORRUPT', () => store.read(`${prefix}x`, target, 999, never)],
      ['a shorter object', 'OBJECT_CORRUPT', () => store.read(`${prefix}x`, target, 1001, never)],
      ['a part past the end', 'OBJECT_CORRUPT', () => store.readRange(`${prefix}x`, 500, target, 501, never)],
      ['more than agreed', 'OBJECT_CORRUPT', () => store.get(`${prefix}x`, 999, never)],
    ];
    for (const [name, code, work] of cases) expect(await codeOf(work()), name).to.equal(code);
  });

  it('ends with its signal, for its reason', async () => {
    const store = open();
    const gone = AbortSignal.abort(new Error('enough'));
    const body = Buffer.from('x');
    expect(await codeOf(store.put(`${prefix}x`, body, { sha256: sha256Hex(body), signal: gone }))).to.equal(
      'Error: enough',
    );
    expect(await codeOf(store.get(`${prefix}x`, 1, gone))).to.be.oneOf(['Error: enough', 'OBJECT_MISSING']);
    expect(await codeOf(store.delete([`${prefix}x`], gone))).to.equal('Error: enough');
  });
}
