import { expect } from 'chai';
import { packsToRewrite } from '../../../../agent/memory/compaction.ts';

describe('packsToRewrite', () => {
  const cases = [
    { name: 'leaves packs alone of which half is in use', packs: [{ pack: 1, pages: 10, live: 5 }], chosen: [] },
    { name: 'takes those of which less is', packs: [{ pack: 1, pages: 10, live: 4 }], chosen: [1] },
    { name: 'needs nothing of a pack that nobody uses', packs: [{ pack: 1, pages: 10, live: 0 }], chosen: [] },
    {
      name: 'begins with the emptiest and stays within the limit',
      packs: [
        { pack: 1, pages: 1000, live: 60 },
        { pack: 2, pages: 1000, live: 30 },
        { pack: 3, pages: 1000, live: 50 },
      ],
      chosen: [2, 3],
    },
  ];
  for (const { name, packs, chosen } of cases) {
    it(name, () => expect(packsToRewrite(packs, 100)).to.deep.equal(chosen));
  }
});
