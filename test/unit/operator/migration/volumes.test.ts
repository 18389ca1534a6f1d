import { expect } from 'chai';
import { volumeFindings } from '../../../../operator/migration/volumes.ts';
import type { Volume } from '../../../../operator/kube/objects.ts';
import * as given from '../../../fakes/operator-objects.ts';

const claimed: Volume = { name: 'data', persistentVolumeClaim: { claimName: 'c' } };
const cases: readonly { name: string; volume: Volume; modes?: readonly string[]; expected?: string }[] = [
  { name: 'an emptyDir', volume: { name: 'data', emptyDir: {} } },
  { name: 'a ConfigMap', volume: { name: 'data', configMap: { name: 'x' } } },
  { name: 'a claim for many', volume: claimed, modes: ['ReadWriteOnce', 'ReadWriteMany'] },
  { name: 'a claim for many readers', volume: claimed, modes: ['ReadOnlyMany'] },
  {
    name: 'a claim for one node',
    volume: claimed,
    modes: ['ReadWriteOnce'],
    expected: 'volume data (claim c) is ReadWriteOnce',
  },
  {
    name: 'a claim for one pod',
    volume: claimed,
    modes: ['ReadWriteOncePod'],
    expected: 'volume data (claim c) is ReadWriteOncePod',
  },
  { name: 'a claim that is not known', volume: claimed },
  {
    name: 'a volume of the pod',
    volume: { name: 'data', ephemeral: {} },
    expected: 'volume data is made anew for each pod',
  },
  {
    name: 'a disk',
    volume: { name: 'data', gcePersistentDisk: { pdName: 'd' } },
    expected: 'volume data is a disk (gcePersistentDisk) of one node at a time',
  },
  { name: 'a disk that is only read', volume: { name: 'data', gcePersistentDisk: { pdName: 'd', readOnly: true } } },
];

describe('operator/migration/volumes', () => {
  for (const { name, volume, modes, expected } of cases) {
    it(name, () => {
      const claims = new Map(modes === undefined ? [] : [['c', given.claim('c', ...modes)]]);
      const findings = volumeFindings({ ...given.pod().spec, volumes: [volume] }, claims);
      expect(findings).to.deep.equal(expected === undefined ? [] : [{ code: 'VOLUME_BOUND', message: expected }]);
    });
  }
});
