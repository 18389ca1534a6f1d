import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import {
  createImageFinder,
  type FindImageOptions,
  type ImageFinder,
} from '../../../../webhook/image-config/find-image.ts';
import type { ImageAnswer, ImageNeed } from '../../../../webhook/image-need.ts';
import { warningOf } from '../../../../webhook/skip.ts';
import { silentLog } from '../../../fakes/silent-log.ts';
import { eventually } from '../../../fakes/until.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

/** A registry as slow or as false as a test wants; a real one is asked in test/integration/webhook. */
describe('webhook/image-config/find-image', () => {
  let server: Server;
  let host: string;
  let asked: string[];
  let answers: Record<string, readonly [string, string]>;
  let hold: ((response: () => void) => void) | undefined;
  let nowMs: number;
  const made: ImageFinder[] = [];

  beforeEach(async () => {
    asked = [];
    answers = {};
    hold = undefined;
    nowMs = 0;
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      if (hold === undefined) reply(request.url ?? '', response);
      else hold(() => reply(request.url ?? '', response));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `localhost:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    for (const one of made.splice(0)) one.stop();
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });

  function reply(url: string, response: ServerResponse): void {
    const found = answers[url];
    if (found === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': found[0] }).end(found[1]);
  }

  /** Puts an image up; @returns the digest of its manifest */
  function put(repository: string, version: string, config: object, type = manifestType): string {
    const blob = JSON.stringify(config);
    const manifest = JSON.stringify({ config: { digest: sha256(blob) }, layers: [] });
    answers[`/v2/${repository}/blobs/${sha256(blob)}`] = ['application/octet-stream', blob];
    answers[`/v2/${repository}/manifests/${version}`] = [type, manifest];
    answers[`/v2/${repository}/manifests/${sha256(manifest)}`] = [type, manifest];
    return sha256(manifest);
  }

  function finder(options: Partial<FindImageOptions> = {}): ImageFinder {
    const one = createImageFinder({
      registries: { [host]: { mirrors: [], insecure: true } },
      readCredentials: async () => ({ all: [], isDenied: false }),
      now: () => nowMs,
      log: silentLog(),
      ...options,
    });
    made.push(one);
    return one;
  }

  const need = (image: string, more: Partial<ImageNeed> = {}): ImageNeed => ({
    image: `${host}/${image}`,
    architecture: 'amd64',
    namespace: 'shop',
    secrets: [],
    serviceAccount: 'default',
    ...more,
  });
  const codeOf = (answer: ImageAnswer) => (answer.known ? 'known' : answer.skip.code);
  const runs = (...cmd: readonly string[]) => ({ known: true, command: { entrypoint: [], cmd } });
  const config = (...Cmd: readonly string[]) => ({ os: 'linux', config: { Cmd } });

  it('keeps an answer: a tag for a minute, and then its configuration by digest', async () => {
    put('app', '1', config('a'));
    const one = finder();
    expect(await one.find(need('app:1'))).to.deep.equal(runs('a'));
    nowMs = 59_000;
    expect(await one.find(need('app:1'))).to.deep.equal(runs('a'));
    expect(asked).to.have.length(2);
    nowMs = 61_000;
    expect(await one.find(need('app:1'))).to.deep.equal(runs('a'));
    expect(asked.slice(2)).to.deep.equal(['/v2/app/manifests/1']);
    put('app', '1', config('b'));
    nowMs = 130_000;
    expect(await one.find(need('app:1'))).to.deep.equal(runs('b'));
  });

  it('keeps an answer to a digest longer, and a failure only for a moment', async () => {
    const digest = put('app', '1', config('a'));
    const one = finder();
    await one.find(need(`app@${digest}`));
    nowMs = 3_000_000;
    await one.find(need(`app@${digest}`));
    expect(asked).to.have.length(2);
    expect(codeOf(await one.find(need('none:1')))).to.equal('IMAGE_MISSING');
    expect(codeOf(await one.find(need('none:1')))).to.equal('IMAGE_MISSING');
    expect(asked).to.have.length(3);
    put('none', '1', config('now'));
    nowMs += 11_000;
    expect(await one.find(need('none:1'))).to.deep.equal(runs('now'));
  });

  it('does not tell one namespace what another was let in to', async () => {
    put('app', '1', config('a'));
    const one = finder();
    await one.find(need('app:1'));
    delete answers['/v2/app/manifests/1'];
    expect(codeOf(await one.find(need('app:1', { namespace: 'other' })))).to.equal('IMAGE_MISSING');
    expect(await one.find(need('app:1'))).to.deep.equal(runs('a'));
  });

  it('asks once for many at a time', async () => {
    put('app', '1', config('a'));
    const one = finder();
    const found = await Promise.all(Array.from({ length: 50 }, () => one.find(need('app:1'))));
    expect(new Set(found.map(codeOf))).to.deep.equal(new Set(['known']));
    expect(asked).to.have.length(2);
  });

  it('does not keep an admission waiting; the lookup goes on, and the next one is answered from it', async () => {
    put('app', '1', config('a'));
    const held: (() => void)[] = [];
    hold = (release) => held.push(release);
    const one = finder({ budgetMs: 10 });
    const answer = await one.find(need('app:1'));
    expect(codeOf(answer)).to.equal('IMAGE_PENDING');
    if (!answer.known) expect(warningOf(answer.skip)).to.match(/rollout restart/);
    hold = undefined;
    for (const release of held) release();
    await eventually('the configuration was asked for', () => asked.length === 2);
    expect(await untilKnown(one)).to.deep.equal(runs('a'));
    expect(asked).to.have.length(2);
  });

  async function untilKnown(one: ImageFinder): Promise<ImageAnswer> {
    for (;;) {
      const answer = await one.find(need('app:1'));
      if (codeOf(answer) !== 'IMAGE_PENDING') return answer;
    }
  }

  it('has a bound of lookups under way', async () => {
    hold = () => undefined;
    const one = finder({ budgetMs: 1, mostLookups: 2 });
    const found = await Promise.all(['a', 'b', 'c'].map((name) => one.find(need(name))));
    expect(found.map(codeOf)).to.deep.equal(['IMAGE_PENDING', 'IMAGE_PENDING', 'IMAGE_PENDING']);
    await eventually('two were asked for', () => asked.length === 2);
    const [, , third] = found;
    expect(third)
      .to.have.property('skip')
      .that.has.property('message')
      .that.matches(/too many/);
  });

  it('gives a lookup up at its own deadline', async () => {
    hold = () => undefined;
    expect(codeOf(await finder({ budgetMs: 5000, lookupMs: 20 }).find(need('app:1')))).to.equal('IMAGE_UNREACHABLE');
  });

  it('is unreachable when the pull secrets cannot be read, and denied with the way out when it may not', async () => {
    put('app', '1', config('a'));
    const failing = finder({ readCredentials: async () => Promise.reject(new Error('no answer')) });
    expect(codeOf(await failing.find(need('app:1')))).to.equal('IMAGE_UNREACHABLE');
    const blind = finder({ readCredentials: async () => ({ all: [], isDenied: true }) });
    expect(codeOf(await blind.find(need('app:1')))).to.equal('known');
    const answer = await blind.find(need('none:1'));
    expect(codeOf(answer)).to.equal('IMAGE_DENIED');
    if (!answer.known) expect(warningOf(answer.skip)).to.match(/RoleBinding to podferry-pull-secrets/);
  });

  const odd: readonly { readonly name: string; readonly put: () => string; readonly code: string }[] = [
    {
      name: 'a manifest that is not what its digest says',
      put: () => {
        const digest = put('odd', '1', config('a'));
        answers[`/v2/odd/manifests/${digest}`] = [manifestType, '{}'];
        return `odd@${digest}`;
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'a configuration that is not what its digest says',
      put: () => {
        put('odd', '1', config('a'));
        for (const url of Object.keys(answers)) if (url.includes('/blobs/')) answers[url] = ['x', '{}'];
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'a manifest of Docker schema 1',
      put: () => {
        put('odd', '1', config('a'), 'application/vnd.docker.distribution.manifest.v1+prettyjws');
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'an image for Windows',
      put: () => {
        put('odd', '1', { os: 'windows', config: { Cmd: ['x'] } });
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'a command that is too long for an annotation',
      put: () => {
        put('odd', '1', config('x'.repeat(40_000)));
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'a manifest without end',
      put: () => {
        answers['/v2/odd/manifests/1'] = [manifestType, 'x'.repeat(5_000_000)];
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'an index that leads elsewhere than to a digest',
      put: () => {
        const manifests = [{ digest: '../../other/manifests/1', platform: { os: 'linux', architecture: 'amd64' } }];
        answers['/v2/odd/manifests/1'] = [indexType, JSON.stringify({ manifests })];
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'a manifest that names no configuration',
      put: () => {
        answers['/v2/odd/manifests/1'] = [manifestType, '{}'];
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
    {
      name: 'something that is no JSON',
      put: () => {
        answers['/v2/odd/manifests/1'] = [manifestType, '<html>'];
        return 'odd:1';
      },
      code: 'IMAGE_INVALID',
    },
  ];
  for (const { name, put: prepare, code } of odd) {
    it(`refuses ${name}`, async () => expect(codeOf(await finder().find(need(prepare())))).to.equal(code));
  }
});
