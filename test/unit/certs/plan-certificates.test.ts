import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import type { KeyPair } from '../../../certs/key-pair.ts';
import {
  type Authority,
  authorityData,
  bundleOf,
  leafData,
  planAuthority,
  planLeaf,
  promoted,
  type SecretData,
} from '../../../certs/plan-certificates.ts';

const day = 24 * 60 * 60 * 1000;
const now = Date.parse('2026-11-21T12:00:00Z');
const spec = { secret: 'tls', dnsNames: ['hub.system.svc', 'hub.system.svc.cluster.local'] };

describe('plan-certificates', () => {
  let old: KeyPair;
  let young: KeyPair;
  let leaf: KeyPair;
  let lone: Authority;
  let staged: Authority;

  before(async () => {
    [old, young] = await Promise.all([issueAuthority(now), issueAuthority(now + 2500 * day)]);
    leaf = await issueLeaf(spec.dnsNames, old, now);
    lone = { current: old };
    staged = { current: old, next: young };
  });

  const authorities: readonly {
    readonly name: string;
    readonly secret: () => SecretData;
    readonly atDay: number;
    readonly action: string;
  }[] = [
    { name: 'none', secret: () => undefined, atDay: 0, action: 'create' },
    { name: 'an empty one', secret: () => ({}), atDay: 0, action: 'create' },
    { name: 'a fresh one', secret: () => authorityData(lone), atDay: 1, action: 'keep' },
    { name: 'just before two thirds', secret: () => authorityData(lone), atDay: 2430, action: 'keep' },
    { name: 'two thirds old', secret: () => authorityData(lone), atDay: 2440, action: 'stage-next' },
    { name: 'a next one waiting', secret: () => authorityData(staged), atDay: 2600, action: 'keep' },
    {
      name: 'five sixths old, a next one waiting',
      secret: () => authorityData(staged),
      atDay: 3050,
      action: 'promote-next',
    },
    { name: 'five sixths old, none waiting', secret: () => authorityData(lone), atDay: 3050, action: 'stage-next' },
    { name: 'promoted', secret: () => authorityData(promoted(staged)), atDay: 3051, action: 'keep' },
    {
      name: 'promoted, the old one expired',
      secret: () => authorityData(promoted(staged)),
      atDay: 3700,
      action: 'write',
    },
    { name: 'expired', secret: () => authorityData(lone), atDay: 3651, action: 'create' },
    { name: 'from the future', secret: () => authorityData(lone), atDay: -1, action: 'create' },
    {
      name: "another's key",
      secret: () => ({ ...authorityData(lone), 'tls.key': young.key }),
      atDay: 1,
      action: 'create',
    },
    { name: 'an edited key', secret: () => ({ ...authorityData(lone), 'tls.key': 'x' }), atDay: 1, action: 'create' },
    { name: 'no CA', secret: () => ({ 'tls.crt': leaf.cert, 'tls.key': leaf.key }), atDay: 1, action: 'create' },
    {
      name: 'an edited bundle',
      secret: () => ({ ...authorityData(lone), 'ca.crt': young.cert }),
      atDay: 1,
      action: 'write',
    },
    { name: 'a foreign key', secret: () => ({ ...authorityData(lone), note: 'x' }), atDay: 1, action: 'write' },
    {
      name: 'a broken next one',
      secret: () => ({ ...authorityData(staged), 'next.key': '' }),
      atDay: 2600,
      action: 'stage-next',
    },
  ];
  for (const { name, secret, atDay, action } of authorities) {
    it(`CA, ${name}: ${action}`, () => expect(planAuthority(secret(), now + atDay * day).action).to.equal(action));
  }

  const leafs: readonly {
    readonly name: string;
    readonly secret: () => SecretData;
    readonly atDay: number;
    readonly under?: () => Authority;
    readonly action: string;
  }[] = [
    { name: 'none', secret: () => undefined, atDay: 0, action: 'issue' },
    { name: 'fresh', secret: () => leafData(leaf, lone), atDay: 1, action: 'keep' },
    { name: 'before two thirds', secret: () => leafData(leaf, lone), atDay: 59, action: 'keep' },
    { name: 'two thirds old', secret: () => leafData(leaf, lone), atDay: 60, action: 'issue' },
    { name: 'expired', secret: () => leafData(leaf, lone), atDay: 91, action: 'issue' },
    { name: 'from the future', secret: () => leafData(leaf, lone), atDay: -1, action: 'issue' },
    {
      name: 'a new CA staged',
      secret: () => leafData(leaf, lone),
      atDay: 1,
      under: () => staged,
      action: 'write-bundle',
    },
    {
      name: 'a new CA signing',
      secret: () => leafData(leaf, staged),
      atDay: 1,
      under: () => promoted(staged),
      action: 'issue',
    },
    {
      name: 'an edited certificate',
      secret: () => ({ ...leafData(leaf, lone), 'tls.crt': 'x' }),
      atDay: 1,
      action: 'issue',
    },
    {
      name: "another's key",
      secret: () => ({ ...leafData(leaf, lone), 'tls.key': old.key }),
      atDay: 1,
      action: 'issue',
    },
    {
      name: 'an edited bundle',
      secret: () => ({ ...leafData(leaf, lone), 'ca.crt': '' }),
      atDay: 1,
      action: 'write-bundle',
    },
  ];
  for (const { name, secret, atDay, under, action } of leafs) {
    it(`leaf, ${name}: ${action}`, () => {
      expect(planLeaf(secret(), spec, under?.() ?? lone, now + atDay * day)).to.equal(action);
    });
  }

  it('issues again for other names', () => {
    const other = { secret: 'tls', dnsNames: ['hub.system.svc'] };
    expect(planLeaf(leafData(leaf, lone), other, lone, now)).to.equal('issue');
  });

  it('trusts the old CA as long as it lives, the signing one first', () => {
    expect(bundleOf(promoted(staged))).to.equal(`${young.cert.trim()}\n${old.cert.trim()}\n`);
  });
});
