import { expect } from 'chai';
import { KitHolder } from '../../../../agent/checkpoint/restore-kit.ts';
import { sealingFor } from '../../../fakes/sealing.ts';

describe('the kit of a restore', () => {
  it('is made ready once, and belongs to the one that takes it', async () => {
    const holder = new KitHolder();
    const sealing = sealingFor('i-1');
    holder.warm(sealing);
    holder.warm(sealing);
    const [first, second] = [holder.take(), holder.take()];
    expect(first).to.not.equal(second);
    expect(second.pool).to.not.equal(first.pool);
    await Promise.all([first, second].map(async ({ frames }) => frames.close()));
  });
});
