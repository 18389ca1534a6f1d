import { expect } from 'chai';
import * as fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { patchBetween } from '../../../webhook/patch.ts';

/** rfc6902 drops this key when it applies a patch; the API server knows no such field. */
const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes('__proto__'));
const item = fc.record(
  {
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    value: json,
    list: fc.array(fc.constantFrom('x', 'y'), { maxLength: 3 }),
  },
  { requiredKeys: ['name'], noNullPrototype: true },
);
const list = fc.oneof(
  fc.uniqueArray(item, { maxLength: 5, selector: (one) => one.name }),
  fc.array(item, { maxLength: 5 }),
  json,
);

describe('patchBetween', () => {
  it('gives operations that lead from one to the other', () => {
    fc.assert(
      fc.property(list, list, (before, after) => {
        const object = structuredClone({ list: before });
        const failures = applyPatch(object, structuredClone(patchBetween({ list: before }, { list: after })));
        expect(failures.filter((one) => one !== null)).to.deep.equal([]);
        expect(JSON.parse(JSON.stringify(object))).to.deep.equal(JSON.parse(JSON.stringify({ list: after })));
      }),
      { numRuns: 2000 },
    );
  });

  it('touches only the items that differ', () => {
    const before = { list: [{ name: 'a', v: 1 }, { name: 'gone' }, { name: 'b' }] };
    const after = { list: [{ name: 'new' }, { name: 'a', v: 2 }, { name: 'b' }] };
    expect(patchBetween(before, after)).to.deep.equal([
      { op: 'remove', path: '/list/1' },
      { op: 'add', path: '/list/0', value: { name: 'new' } },
      { op: 'replace', path: '/list/1/v', value: 2 },
    ]);
  });

  it('compares long equal lists without recursion', () => {
    const long = () => Array.from({ length: 50_000 }, (_, index) => ({ name: `v${index}`, value: 'x' }));
    expect(patchBetween({ env: long() }, { env: long() })).to.deep.equal([]);
  });
});
