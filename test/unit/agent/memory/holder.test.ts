import { expect } from 'chai';
import { MemoryHolder } from '../../../../agent/memory/holder.ts';

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
});
