import { expect } from 'chai';
import { quantityInNanos } from '../../../proto/quantity.ts';

const equal: readonly (readonly [unknown, unknown])[] = [
  ['1', '1000m'],
  ['0.5', '500m'],
  ['.5', '500m'],
  ['1.', 1],
  ['1Gi', '1024Mi'],
  ['1G', '1000M'],
  ['1e3', '1k'],
  ['1E3', '1000'],
  ['1E', '1000P'],
  ['-1', '-1000m'],
  ['100n', '0.1u'],
];
const none: readonly unknown[] = ['', '.', 'm', '1 Gi', '1gi', '1mi', 'x', '--1', null, undefined, {}, '1e', '1e999'];

describe('quantityInNanos', () => {
  for (const [one, other] of equal) {
    it(`${String(one)} is ${String(other)}`, () => {
      expect(quantityInNanos(one)).to.be.a('bigint').and.equal(quantityInNanos(other));
    });
  }
  it('tells 1 from 1Gi', () => expect(quantityInNanos('1')).to.not.equal(quantityInNanos('1Gi')));
  for (const value of none) {
    it(`${JSON.stringify(value)} is none`, () => expect(quantityInNanos(value)).to.equal(undefined));
  }
});
