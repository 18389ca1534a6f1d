import { expect } from 'chai';
import * as fc from 'fast-check';
import { parseChallenge } from '../../../../webhook/image-config/challenge.ts';
import { credentialsFor, credentialsIn, type PullCredential } from '../../../../webhook/image-config/pull-secret.ts';
import { endpointsOf, parseRegistries } from '../../../../webhook/image-config/registries.ts';
import { parseReference } from '../../../../webhook/image-config/reference.ts';
import { isPodferryError } from '../support/errors.ts';

const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64');

describe('webhook/image-config/challenge', () => {
  const realm = 'https://auth.shop/token';
  const cases: readonly (readonly [string, string | undefined, unknown])[] = [
    ['nothing', undefined, undefined],
    ['Basic', 'Basic realm="x"', { scheme: 'basic' }],
    ['Basic alone', 'basic', { scheme: 'basic' }],
    [
      'Bearer',
      `Bearer realm="${realm}",service="registry.shop",scope="repository:a/b:pull"`,
      { scheme: 'bearer', realm, service: 'registry.shop', scope: 'repository:a/b:pull' },
    ],
    [
      'Bearer with blanks and bare words',
      `BEARER realm=${realm} , service=s`,
      { scheme: 'bearer', realm, service: 's', scope: undefined },
    ],
    [
      'both',
      `Basic realm="x", Bearer realm="${realm}"`,
      { scheme: 'bearer', realm, service: undefined, scope: undefined },
    ],
    [
      'an escaped quote',
      String.raw`Bearer realm="a\"b"`,
      { scheme: 'bearer', realm: 'a"b', service: undefined, scope: undefined },
    ],
    ['Bearer without a realm', 'Bearer service="s"', undefined],
    ['another scheme', 'Negotiate', undefined],
    ['one that is too long', `Basic realm="${'x'.repeat(5000)}"`, undefined],
  ];
  for (const [name, header, challenge] of cases) {
    it(`reads ${name}`, () => expect(parseChallenge(header)).to.deep.equal(challenge));
  }
  it('reads any text without failing', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseChallenge(text)));
  });
});

describe('webhook/image-config/pull-secret', () => {
  const shop = { username: 'shop', password: 'a:b' };

  it('reads both types of Secrets, and both ways to write a password', () => {
    const auths = {
      'registry.shop': { auth: base64('shop:a:b') },
      'https://index.docker.io/v1/': { ...shop, auth: 'x' },
    };
    const found = credentialsIn({ '.dockerconfigjson': base64({ auths }), '.dockercfg': base64({ old: shop }) });
    expect(found.map(({ host, credential }) => [host, credential])).to.deep.equal([
      ['registry.shop', shop],
      ['docker.io', shop],
      ['old', shop],
    ]);
  });

  it('takes what it cannot read for none', () => {
    for (const text of [
      '',
      'no json',
      '[]',
      '{"auths":3}',
      '{"auths":{"a":{"auth":"bm9jb2xvbg=="}}}',
      '{"auths":{"a":{}}}',
    ]) {
      expect(credentialsIn({ '.dockerconfigjson': base64(text) })).to.deep.equal([]);
    }
    fc.assert(fc.property(fc.json(), (text) => void credentialsIn({ '.dockerconfigjson': base64(text) })));
  });

  const fits: readonly {
    readonly key: string;
    readonly host: string;
    readonly repository?: string;
    readonly fits: boolean;
  }[] = [
    { key: 'registry.shop', host: 'registry.shop', fits: true },
    { key: 'https://registry.shop/v2/', host: 'registry.shop', fits: true },
    { key: 'registry.shop:5000', host: 'registry.shop', fits: false },
    { key: 'registry.shop', host: 'registry.shop:5000', fits: false },
    { key: '*.shop', host: 'registry.shop', fits: true },
    { key: 'reg*.shop', host: 'registry.shop', fits: true },
    { key: '*.shop', host: 'a.b.shop', fits: false },
    { key: '*', host: 'registry.shop', fits: false },
    { key: 'a*a.shop', host: 'a.shop', fits: false },
    { key: '*', host: 'evil', fits: true },
    { key: 'registry.shop/team', host: 'registry.shop', repository: 'team/web', fits: true },
    { key: 'registry.shop/team', host: 'registry.shop', repository: 'teams/web', fits: false },
    { key: 'index.docker.io', host: 'docker.io', repository: 'library/redis', fits: true },
    { key: 'registry-1.docker.io', host: 'docker.io', repository: 'library/redis', fits: true },
  ];
  for (const { key, host, repository = 'a', fits: expected } of fits) {
    it(`${key} ${expected ? 'is' : 'is not'} for ${host}/${repository}`, () => {
      const all = credentialsIn({ '.dockercfg': base64({ [key]: shop }) });
      expect(credentialsFor({ host, repository }, all)).to.have.length(expected ? 1 : 0);
    });
  }

  it('tries the narrowest first', () => {
    const of = (folder: string): PullCredential => ({
      host: 'h',
      folder,
      credential: { username: folder, password: '' },
    });
    const tried = credentialsFor({ host: 'h', repository: 'a/b/c' }, [of(''), of('a/b'), of('a'), of('x')]);
    expect(tried.map(({ username }) => username)).to.deep.equal(['a/b', 'a', '']);
  });
});

describe('webhook/image-config/registries', () => {
  it('asks mirrors before the registry, each with its own settings', () => {
    const registries = parseRegistries(
      'docker.io: { mirrors: ["mirror:5000/hub/", "other"] }\n"mirror:5000": { insecure: true }\n',
      'file',
    );
    const endpoints = endpointsOf(parseReference('redis:8'), registries);
    expect(endpoints.map(({ origin, repository }) => `${origin} ${repository}`)).to.deep.equal([
      'http://mirror:5000 hub/library/redis',
      'https://other library/redis',
      'https://registry-1.docker.io library/redis',
    ]);
  });
  for (const text of [
    '[1',
    'a: 3',
    'a: { mirrors: "b" }',
    'a: { mirrors: ["http://b"] }',
    'a: { skipVerify: true }',
    'a: { ca: "none" }',
  ]) {
    it(`refuses ${text}`, () => {
      expect(() => parseRegistries(text, 'file'))
        .to.throw()
        .that.satisfies(isPodferryError('CONFIG_INVALID'));
    });
  }
  it('takes an empty file for no settings', () => expect(parseRegistries('# nothing\n', 'file')).to.deep.equal({}));
});
