import { expect } from 'chai';
import { createKeys } from '../../../../operator/keys/keys.ts';
import { isPodferryError } from '../../../fakes/expect-code.ts';

describe('operator/keys/keys', () => {
  const keys = createKeys(Buffer.alloc(32, 1));
  const others = createKeys(Buffer.alloc(32, 2));

  it('are the same in every replica', () => {
    const again = createKeys(Buffer.alloc(32, 1));
    expect(again.id).to.equal(keys.id);
    expect(again.dataKey('i')).to.deep.equal(keys.dataKey('i'));
    expect(again.moveSecret('m', 1)).to.deep.equal(keys.moveSecret('m', 1));
  });

  it('differ by instance, by migration, by attempt, by master key, and from each other', () => {
    const all = [keys, others].flatMap((each) => [
      each.dataKey('a'),
      each.dataKey('b'),
      each.moveSecret('a', 1),
      each.moveSecret('a', 2),
      each.moveSecret('b', 1),
    ]);
    expect(all.every((key) => key.byteLength === 32)).to.equal(true);
    expect(new Set(all.map((key) => key.toString('hex')))).to.have.property('size', all.length);
    expect(keys.id).to.match(/^[0-9a-f]{12}$/);
    expect(keys.id).not.to.equal(others.id);
  });

  it('need a whole master key', () => {
    isPodferryError('CONFIG_INVALID', () => createKeys(Buffer.alloc(31)));
  });

  it('stay what they are: checkpoints in storage depend on it', () => {
    expect(keys.id).to.equal('f981c96e8984');
    expect(keys.dataKey('instance').toString('hex')).to.equal(
      '08ee2f4d3d2d4d8d740d2aab1e472550d8687d012cf20c161fb87aadb2d9cccf',
    );
  });
});
