import { expect } from 'chai';
import type { Living } from '../../../../operator/collecting/living.ts';
import { planCollecting, type StoredInstance } from '../../../../operator/collecting/plan-collecting.ts';

const hour = 3_600_000;
const instance = '11111111-1111-4111-8111-111111111111';
const keyPrefix = `p/shop/deployment-web/${instance}/`;
const nobody: Living = { instances: new Set(), unclear: new Set() };
const it1: Living = { instances: new Set([instance]), unclear: new Set() };
const unclear = (namespace: string): Living => ({ instances: new Set(), unclear: new Set([namespace]) });

const stored = (change: Partial<StoredInstance> = {}): StoredInstance => ({
  namespace: 'shop',
  instance,
  keyPrefix,
  manifests: [`${keyPrefix}checkpoints/g1/manifest`],
  others: [`${keyPrefix}packs/a`],
  newestMs: 10 * hour,
  listedMs: 20 * hour,
  ...change,
});

const cases: readonly {
  readonly name: string;
  readonly stored?: Partial<StoredInstance>;
  readonly views?: readonly Living[];
  readonly goes: boolean;
}[] = [
  { name: 'nobody knows it and it is old', goes: true },
  { name: 'it lives', views: [it1], goes: false },
  { name: 'it lives by the caches alone', views: [it1, nobody], goes: false },
  { name: 'it lives by the API server alone: the caches lag', views: [nobody, it1], goes: false },
  { name: 'a Migration of its namespace cannot be read', views: [nobody, unclear('shop')], goes: false },
  { name: 'a Migration of another namespace cannot be read', views: [unclear('bank')], goes: true },
  { name: 'its newest object is as old as may be', stored: { newestMs: 19 * hour }, goes: false },
  { name: 'its newest object is a little older', stored: { newestMs: 19 * hour - 1 }, goes: true },
  { name: 'its newest object is of the future', stored: { newestMs: 21 * hour }, goes: false },
  { name: 'it has an object without a time', stored: { newestMs: Number.POSITIVE_INFINITY }, goes: false },
  { name: 'only packs are left of it', stored: { manifests: [] }, goes: true },
  { name: 'only a manifest is left of it', stored: { others: [] }, goes: true },
  { name: 'nothing of ours is there', stored: { manifests: [], others: [] }, goes: false },
];

describe('operator/collecting/plan-collecting', () => {
  for (const { name, stored: change, views = [nobody], goes } of cases) {
    it(`${goes ? 'removes' : 'keeps'} an instance: ${name}`, () => {
      const one = stored(change);
      expect(planCollecting([one], views, hour)).to.deep.equal(goes ? [one] : []);
    });
  }

  it('decides about each by itself', () => {
    const other = stored({ instance: '22222222-1111-4111-8111-111111111111' });
    expect(planCollecting([stored(), other], [it1], hour)).to.deep.equal([other]);
  });
});
