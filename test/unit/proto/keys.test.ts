import { expect } from 'chai';
import { createKeys } from '../../../operator/keys/keys.ts';
import { dataKeyOf, keyIdOf } from '../../../proto/keys.ts';
import { isPodferryError } from '../../fakes/expect-code.ts';

describe('proto/keys', () => {
  const master = Buffer.alloc(32, 1);

  it('stay what they are: checkpoints in storage depend on it', () => {
    expect(keyIdOf(master)).to.equal('f981c96e8984');
    expect(dataKeyOf(master, 'instance').toString('hex')).to.equal(
      '08ee2f4d3d2d4d8d740d2aab1e472550d8687d012cf20c161fb87aadb2d9cccf',
    );
  });

  it("are the operator's", () => {
    const keys = createKeys(master);
    expect(keys.id).to.equal(keyIdOf(master));
    expect(keys.dataKey('i')).to.deep.equal(dataKeyOf(master, 'i'));
  });

  it('need a whole master key', () => {
    isPodferryError('CONFIG_INVALID', () => keyIdOf(Buffer.alloc(31)));
    isPodferryError('CONFIG_INVALID', () => dataKeyOf(Buffer.alloc(0), 'i'));
  });
});
