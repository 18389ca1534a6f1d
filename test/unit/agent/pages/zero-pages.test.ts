import { expect } from 'chai';
import * as fc from 'fast-check';
import { pageBytes } from '../../../../agent/pages/page-size.ts';
import { zeroStretches } from '../../../../agent/pages/zero-pages.ts';

describe('zeroStretches', () => {
  it('divides pages wherever the one byte that is not zero lies', () => {
    const page = fc.option(fc.integer({ min: 0, max: pageBytes - 1 }));
    fc.assert(
      fc.property(fc.array(page, { maxLength: 20 }), (marks) => {
        const bytes = Buffer.alloc(marks.length * pageBytes);
        for (const [i, mark] of marks.entries()) if (mark !== null) bytes[i * pageBytes + mark] = 1;
        const flat = zeroStretches(bytes).flatMap(({ isZero, pages }) => Array.from({ length: pages }, () => isZero));
        expect(flat).to.deep.equal(marks.map((mark) => mark === null));
      }),
    );
  });

  it('gives stretches as long as they can be', () => {
    const bytes = Buffer.alloc(5 * pageBytes);
    bytes.fill(1, pageBytes, 3 * pageBytes);
    expect(zeroStretches(bytes)).to.deep.equal([
      { isZero: true, pages: 1 },
      { isZero: false, pages: 2 },
      { isZero: true, pages: 2 },
    ]);
  });
});
