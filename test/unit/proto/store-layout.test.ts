import { expect } from 'chai';
import {
  instancePrefix,
  isFolder,
  logsBelow,
  manifestKeyOf,
  markOf,
  objectKind,
  packObject,
  placeOfLog,
  placeOfManifest,
  type ObjectKind,
} from '../../../proto/store-layout.ts';

const uuid = '11111111-aaaa-4111-8111-0123456789ab';
const place = { namespace: 'shop', workload: { kind: 'StatefulSet', name: 'db.main' }, instance: uuid };

describe('proto/store-layout', () => {
  it('knows every name that it makes', () => {
    for (const prefix of ['', 'pre/fix']) {
      const keyPrefix = instancePrefix(prefix, place);
      const folders = keyPrefix.slice(prefix === '' ? 0 : prefix.length + 1, -1).split('/');
      expect(folders.map((name, level) => isFolder(level, name))).to.deep.equal([true, true, true]);
      const checkpoint = { keyPrefix, checkpoint: 'g1-abcdef01' };
      const keys: readonly (readonly [ObjectKind, string])[] = [
        ['manifest', manifestKeyOf(checkpoint)],
        ['log', `${logsBelow(checkpoint)}lazy-pages.log`],
        ['pack', packObject(keyPrefix, uuid)],
        ['mark', markOf(keyPrefix)],
      ];
      for (const [kind, key] of keys) {
        expect(objectKind(key.slice(keyPrefix.length)), key).to.equal(kind);
        expect(placeOfManifest(key), key).to.deep.equal(kind === 'manifest' ? checkpoint : undefined);
        expect(placeOfLog(key), key).to.deep.equal(kind === 'log' ? checkpoint : undefined);
      }
    }
  });

  it('finds a manifest or a log also without a prefix', () => {
    expect(placeOfManifest('checkpoints/c-1/manifest')).to.deep.equal({ keyPrefix: '', checkpoint: 'c-1' });
    expect(placeOfLog('checkpoints/c-1/logs/a')).to.deep.equal({ keyPrefix: '', checkpoint: 'c-1' });
    for (const other of [
      'p/packs/logs/x',
      'p/checkpoints/c-1/logs/',
      'xcheckpoints/c-1/manifest',
      'checkpoints//manifest',
    ]) {
      expect(placeOfManifest(other) ?? placeOfLog(other), other).to.equal(undefined);
    }
  });

  for (const [level, name] of [
    [0, 'Shop'],
    [0, 'a.b'],
    [0, '-a'],
    [0, ''],
    [0, 'a'.repeat(64)],
    [1, 'deployment'],
    [1, 'deployment-'],
    [1, 'Deployment-web'],
    [1, '-web'],
    [2, 'i-1'],
    [2, uuid.toUpperCase()],
    [2, `${uuid}x`],
    [3, uuid],
  ] as const) {
    it(`has no folder "${name.slice(0, 50)}" at level ${level}`, () => expect(isFolder(level, name)).to.equal(false));
  }

  for (const name of [
    '',
    'packs/',
    'packs/mine',
    `packs/${uuid}/x`,
    `packs/${uuid}.bak`,
    'checkpoints/c-1',
    'checkpoints/c-1/manifest.bak',
    'checkpoints/../manifest',
    'checkpoints/a/b/manifest',
    'checkpoints/c-1/logs/',
    'checkpoints/c-1/logs/a/b',
    'collected/x',
    'notes.txt',
    `x/packs/${uuid}`,
    `packs/${uuid}\n`,
  ]) {
    it(`does not take ${JSON.stringify(name)} for its own`, () => expect(objectKind(name)).to.equal(undefined));
  }
});
