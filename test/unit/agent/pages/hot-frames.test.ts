import { expect } from 'chai';
import { hotFramesOf } from '../../../../agent/pages/hot-frames.ts';
import type { PageImage } from '../../../../agent/store/manifest.ts';
import { PageRuns } from '../../../../agent/store/page-runs.ts';

const image: PageImage = {
  kind: 'pid',
  id: 10,
  runs: PageRuns.of([
    { page: 1000, pages: 200, flags: 6, pack: 0, at: 10 },
    { page: 1200, pages: 50, flags: 6, pack: -1, at: 0 },
    { page: 1300, pages: 10, flags: 6, pack: 1, at: 0 },
  ]),
};

describe('hotFramesOf', () => {
  it('finds the frames of hot pages, those with most of them first', () => {
    const hot = [
      {
        id: 10,
        ranges: [
          [1050, 20],
          [1190, 130],
        ] as const,
      },
      { id: 11, ranges: [[1000, 5]] as const },
    ];
    // 1050 is page 60 of its pack: 4 pages in frame 0 and 16 in frame 1; 1190 is page 200.
    expect(hotFramesOf([image], hot)).to.deep.equal([
      { pack: 0, frame: 1, pages: 16 },
      { pack: 0, frame: 3, pages: 10 },
      { pack: 1, frame: 0, pages: 10 },
      { pack: 0, frame: 0, pages: 4 },
    ]);
    expect(hotFramesOf([image], hot, 1)).to.have.length(1);
  });

  it('passes over what is not there', () => {
    expect(hotFramesOf([image], [{ id: 10, ranges: [[0, 999] as const, [5000, 1] as const] }])).to.deep.equal([]);
  });
});
