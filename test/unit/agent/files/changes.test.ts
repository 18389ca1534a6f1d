import { expect } from 'chai';
import fc from 'fast-check';
import { changesSince } from '../../../../agent/files/changes.ts';
import type { FileEntry, FileListing } from '../../../../agent/files/listing.ts';

const file = (bytes = 1, stamp = 's'): FileEntry => ({ kind: 'f', bytes, stamp });
const directory = (stamp = 's'): FileEntry => ({ kind: 'd', bytes: 4096, stamp });
const link: FileEntry = { kind: 'l', bytes: 3, stamp: 's' };
const socket: FileEntry = { kind: 's', bytes: 0, stamp: 's' };
const listing = (entries: Readonly<Record<string, FileEntry>>): FileListing => new Map(Object.entries(entries));

describe('changesSince', () => {
  const cases: readonly {
    readonly name: string;
    readonly before: Readonly<Record<string, FileEntry>>;
    readonly now: Readonly<Record<string, FileEntry>>;
    readonly changed: readonly string[];
    readonly deleted: readonly string[];
    readonly bytes?: number;
  }[] = [
    { name: 'nothing', before: { '/': directory(), '/a': file() }, now: { '/': directory(), '/a': file() }, changed: [], deleted: [] }, // prettier-ignore
    { name: 'a new file', before: {}, now: { '/a': file(7) }, changed: ['/a'], deleted: [], bytes: 7 },
    { name: 'another size', before: { '/a': file(1) }, now: { '/a': file(2) }, changed: ['/a'], deleted: [], bytes: 2 },
    { name: 'another stamp', before: { '/a': file(1, 'x') }, now: { '/a': file(1, 'y') }, changed: ['/a'], deleted: [], bytes: 1 }, // prettier-ignore
    { name: 'a directory', before: { '/d': directory('x') }, now: { '/d': directory('y') }, changed: ['/d'], deleted: [] }, // prettier-ignore
    { name: 'a deleted file', before: { '/a': file() }, now: {}, changed: [], deleted: ['/a'] },
    {
      name: 'a deleted tree, innermost first',
      before: { '/d': directory(), '/d/e': directory(), '/d/e/f': file(), '/d.x': file(), '/d/z': file() },
      now: {},
      changed: [],
      deleted: ['/d/z', '/d/e/f', '/d/e', '/d.x', '/d'],
    },
    { name: 'a file become a link', before: { '/a': file() }, now: { '/a': link }, changed: ['/a'], deleted: ['/a'] },
    {
      name: 'a directory become a file',
      before: { '/a': directory(), '/a/b': file() },
      now: { '/a': file(5) },
      changed: ['/a'],
      deleted: ['/a/b', '/a'],
      bytes: 5,
    },
    { name: 'a new socket', before: {}, now: { '/s': socket }, changed: [], deleted: [] },
    { name: 'a file become a socket', before: { '/s': file() }, now: { '/s': socket }, changed: [], deleted: ['/s'] },
  ];
  for (const { name, before, now, changed, deleted, bytes = 0 } of cases) {
    it(`finds ${name}`, () => {
      expect(changesSince(listing(before), listing(now))).to.deep.equal({ changed, deleted, bytes });
    });
  }

  it('always deletes what is in a directory before the directory', () => {
    const part = fc.constantFrom('a', 'b', 'a.b', 'a-', '\xff', ' ');
    const paths = fc.array(fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`));
    fc.assert(
      fc.property(paths, (all) => {
        const { deleted } = changesSince(new Map(all.map((path) => [path, file()])), new Map());
        for (const [i, path] of deleted.entries()) {
          expect(deleted.slice(i + 1).some((later) => later.startsWith(`${path}/`))).to.equal(false);
        }
      }),
    );
  });
});
