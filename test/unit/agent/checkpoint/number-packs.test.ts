import { expect } from 'chai';
import { placeRuns } from '../../../../agent/checkpoint/local-pages.ts';
import { numberPacks } from '../../../../agent/checkpoint/number-packs.ts';
import type { Pack } from '../../../../agent/store/manifest.ts';
import { PageRuns, zeroPack } from '../../../../agent/store/page-runs.ts';
import { PodferryError } from '../../../../proto/errors.ts';

const pack = (key: string): Pack => ({ key, bytes: 8192, frames: [8192], sha256: '0'.repeat(64) });
const run = (page: number, of: number) => ({ page, pages: 1, flags: 6, pack: of, at: 0 });

describe('numberPacks', () => {
  it('names the packs in use, in the order of their use, and no other', () => {
    const numbered = numberPacks(
      {
        images: [{ name: 'core-1.img', at: [{ pack: 4, offset: 0, bytes: 5 }] }],
        pages: [{ kind: 'pid', id: 1, runs: PageRuns.of([run(1, 2), run(2, zeroPack), run(3, 4)]) }],
        archive: [{ pack: 1, offset: 0, bytes: 5 }],
      },
      [pack('a'), pack('b'), pack('c'), undefined, pack('e')],
    );
    expect(numbered.packs.map(({ key }) => key)).to.deep.equal(['e', 'c', 'b']);
    expect(numbered.images[0]?.at[0]?.pack).to.equal(0);
    expect(Array.from(numbered.pages[0]?.runs ?? [], (next) => next.pack)).to.deep.equal([1, zeroPack, 0]);
    expect(numbered.archive?.[0]?.pack).to.equal(2);
  });

  it('refuses to name a pack that was not stored', () => {
    const users = {
      images: [],
      pages: [{ kind: 'pid', id: 1, runs: PageRuns.of([run(1, 0)]) }],
      archive: undefined,
    } as const;
    expect(() => numberPacks(users, [undefined]))
      .to.throw(PodferryError)
      .with.property('code', 'INTERNAL');
  });
});

describe('placeRuns', () => {
  it('divides runs where the extents end', () => {
    const local = [
      { page: 10, pages: 3, flags: 4 },
      { page: 20, pages: 1, flags: 4 },
    ];
    const at = [
      { pack: 0, offset: 4096, bytes: 8192 },
      { pack: 1, offset: 0, bytes: 8192 },
    ];
    expect(placeRuns(local, at)).to.deep.equal([
      { page: 10, pages: 2, flags: 4, pack: 0, at: 1 },
      { page: 12, pages: 1, flags: 4, pack: 1, at: 0 },
      { page: 20, pages: 1, flags: 4, pack: 1, at: 1 },
    ]);
  });

  it('refuses pages that the file does not have', () => {
    expect(() => placeRuns([{ page: 1, pages: 2, flags: 4 }], [{ pack: 0, offset: 0, bytes: 4096 }]))
      .to.throw(PodferryError)
      .with.property('code', 'IMAGE_TRUNCATED');
  });
});
