import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import type { Baseline } from '../../../../agent/memory/baseline.ts';
import { MemoryHolder } from '../../../../agent/memory/holder.ts';
import type { MemorySession } from '../../../../agent/memory/session.ts';
import { PodferryError } from '../../../../proto/errors.ts';

describe('MemoryHolder', () => {
  const purpose = { rootPid: process.pid, keyPrefix: 'a/', sealing: { id: 'k', instance: 'one' } };

  it('gives what was kept for the same purpose, once', async () => {
    const holder = new MemoryHolder();
    const session = await holder.take(purpose);
    holder.keep(session, purpose);
    expect(await holder.take({ ...purpose })).to.equal(session);
    const other = await holder.take(purpose);
    expect(other).not.to.equal(session);
    await Promise.all([session.close(), other.close()]);
  });

  for (const [name, change] of [
    ['another place', { keyPrefix: 'b/' }],
    ['another key', { sealing: { id: 'l', instance: 'one' } }],
    ['another application', { rootPid: process.ppid }],
  ] as const) {
    it(`closes it when it is asked for ${name}`, async () => {
      const holder = new MemoryHolder();
      const session = await holder.take(purpose);
      await session.ready();
      holder.keep(session, purpose);
      const other = await holder.take({ ...purpose, ...change });
      expect(other).not.to.equal(session);
      expect(await session.ready().catch((error: unknown) => error)).to.have.property('code', 'INTERNAL');
      await other.close();
    });
  }

  it('closes it when nobody comes for it', async () => {
    const holder = new MemoryHolder();
    const session = await holder.take(purpose);
    await session.ready();
    holder.keep(session, purpose, 1);
    const isOpen = (): Promise<boolean> =>
      session.ready().then(
        () => true,
        () => false,
      );
    while (await isOpen());
    const other = await holder.take(purpose);
    expect(other).not.to.equal(session);
    await other.close();
  });

  describe('what the last checkpoint holds', () => {
    const checkpoint = { id: 'g1', manifestKey: 'a/checkpoints/g1/manifest', manifestSha256: '' };
    const baseline: Baseline = { checkpoint, seed: 7n, packs: [], processes: new Map(), hashes: new Map() };
    const stored = async (): Promise<boolean> => true;
    const opened: MemorySession[] = [];

    async function taken(holder: MemoryHolder, ...[of, how]: Parameters<MemoryHolder['take']>): Promise<MemorySession> {
      const session = await holder.take(of, how);
      opened.push(session);
      return session;
    }
    afterEach(() => Promise.all(opened.splice(0).map((session) => session.close())));

    it('is what new sessions begin with, as often as one is needed', async () => {
      const holder = new MemoryHolder();
      holder.remember(() => baseline, purpose);
      for (let i = 0; i < 2; i += 1) {
        const session = await taken(holder, purpose, { isStored: stored });
        expect(session.baseline).to.equal(baseline);
        expect(session.table.seed).to.equal(7n);
      }
    });

    it('is forgotten when its manifest is gone: so may be its packs', async () => {
      const holder = new MemoryHolder();
      holder.remember(() => baseline, purpose);
      const asked: string[] = [];
      const isStored = async ({ manifestKey }: { manifestKey: string }): Promise<boolean> => {
        asked.push(manifestKey);
        return false;
      };
      expect((await taken(holder, purpose, { isStored })).baseline).to.equal(undefined);
      expect(asked).to.deep.equal([checkpoint.manifestKey]);
      expect((await taken(holder, purpose, { isStored: stored })).baseline).to.equal(undefined);
    });

    it('ends the session that was kept when its manifest is gone', async () => {
      const holder = new MemoryHolder();
      holder.remember(() => baseline, purpose);
      const first = await taken(holder, purpose, { isStored: stored });
      holder.keep(first, purpose);
      expect(await taken(holder, purpose, { isStored: stored })).to.equal(first);
      holder.keep(first, purpose);
      const second = await taken(holder, purpose, { isStored: async () => false });
      expect(second).not.to.equal(first);
      expect(second.baseline).to.equal(undefined);
      expect(await first.ready().catch((error: unknown) => error)).to.have.property('code', 'INTERNAL');
    });

    it('ends the session that was kept when the order ends before the store has answered', async () => {
      const holder = new MemoryHolder();
      holder.remember(() => baseline, purpose);
      const first = await taken(holder, purpose, { isStored: stored });
      holder.keep(first, purpose);
      const isStored = (): Promise<boolean> =>
        Promise.reject(new PodferryError('CANCELLED', 'the move is rolled back'));
      const failure: unknown = await holder.take(purpose, { isStored }).catch((error: unknown) => error);
      expect(failure).to.have.property('code', 'CANCELLED');
      expect(await first.ready().catch((error: unknown) => error)).to.have.property('code', 'INTERNAL');
    });

    it('is of no use when nobody looks whether it is stored: the delta is switched off', async () => {
      const holder = new MemoryHolder();
      holder.remember(() => baseline, purpose);
      expect((await taken(holder, purpose)).baseline).to.equal(undefined);
    });

    for (const [name, change] of [
      ['is sealed with another key', { sealing: { id: 'l', instance: 'one' } }],
      ['lies elsewhere', { keyPrefix: 'b/' }],
      ['is of another process', { rootPid: process.ppid }],
    ] as const) {
      it(`is forgotten when it ${name}`, async () => {
        const holder = new MemoryHolder();
        holder.remember(() => baseline, purpose);
        expect((await taken(holder, { ...purpose, ...change }, { isStored: stored })).baseline).to.equal(undefined);
        expect((await taken(holder, purpose, { isStored: stored })).baseline).to.equal(undefined);
      });
    }

    it('is forgotten when the application has been started again, even with the same pid', async () => {
      const holder = new MemoryHolder();
      const child = spawn('sleep', ['1000']);
      const of = { ...purpose, rootPid: child.pid ?? 0 };
      holder.remember(() => baseline, of);
      const exited = once(child, 'exit');
      child.kill();
      await exited;
      expect((await taken(holder, of, { isStored: stored })).baseline).to.equal(undefined);
    });
  });
});
