import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { issueAuthority, issueLeaf } from '../../../certs/issue.ts';
import type { KeyPair } from '../../../certs/key-pair.ts';
import type { Credentials } from '../../../webhook/image-config/credentials.ts';
import { createImageFinder, type ImageFinder } from '../../../webhook/image-config/find-image.ts';
import type { Credential } from '../../../webhook/image-config/pull-secret.ts';
import { type Registries, parseRegistries } from '../../../webhook/image-config/registries.ts';
import type { ImageAnswer } from '../../../webhook/image-need.ts';
import { silentLog } from '../../fakes/silent-log.ts';
import { type Config, docker, oci, pushImage, pushIndex } from './support/images.ts';
import { digestOf, type Registry, startRegistry, whyNoRegistry } from './support/registry.ts';
import { startTokenServer, type TokenServer } from './support/token-server.ts';

const account = { username: 'shop', password: 'geheim' };
/** bcrypt of `geheim`, of the lowest cost. */
const htpasswd = { ...account, lines: 'shop:$2y$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu\n' };

describe('images of a real registry', function () {
  this.timeout(30_000);
  const undo: (() => unknown)[] = [];
  let registry: Registry;

  before(async function () {
    const why = whyNoRegistry();
    if (why !== undefined) {
      console.log(`      skipped: ${why}`);
      this.skip();
    }
    registry = await startRegistry();
  });
  after(() => registry?.stop());
  afterEach(async () => {
    for (const one of undo.splice(0).toReversed()) await one();
  });

  const insecure = (...hosts: readonly string[]): Registries =>
    Object.fromEntries(hosts.map((host) => [host, { mirrors: [], insecure: true }]));

  function finder(registries: Registries, credentials: Partial<Credentials> = {}): ImageFinder {
    const made = createImageFinder({
      registries,
      readCredentials: async () => ({ all: [], isDenied: false, ...credentials }),
      now: Date.now,
      log: silentLog(),
      budgetMs: 10_000,
    });
    undo.push(() => made.stop());
    return made;
  }

  async function find(
    image: string,
    registries = insecure(registry.host),
    { architecture = 'amd64', ...credentials }: Partial<Credentials> & { readonly architecture?: string } = {},
  ): Promise<ImageAnswer> {
    const need = { image, architecture, namespace: 'shop', secrets: [], serviceAccount: 'default' };
    return finder(registries, credentials).find(need);
  }

  const known = (entrypoint: readonly string[], cmd: readonly string[]) => ({
    known: true,
    command: { entrypoint, cmd },
  });
  const codeOf = (answer: ImageAnswer) => (answer.known ? 'known' : answer.skip.code);
  const shell = ['/bin/sh', '-c', 'exec app --port "$PORT"'];

  const cases: readonly {
    readonly name: string;
    readonly config: Config;
    readonly entrypoint: readonly string[];
    readonly cmd: readonly string[];
  }[] = [
    {
      name: 'exec form',
      config: { Entrypoint: ['/app'], Cmd: ['--a', 'b c'] },
      entrypoint: ['/app'],
      cmd: ['--a', 'b c'],
    },
    { name: 'shell form', config: { Cmd: shell, ArgsEscaped: true }, entrypoint: [], cmd: shell },
    { name: 'shell form of ENTRYPOINT', config: { Entrypoint: shell, Cmd: null }, entrypoint: shell, cmd: [] },
    { name: 'none', config: {}, entrypoint: [], cmd: [] },
    {
      name: 'distroless-like, of a user of its own, with WORKDIR',
      config: { Entrypoint: ['/server'], User: '65532:65532', WorkingDir: '/srv', Env: ['PATH=/usr/bin'] },
      entrypoint: ['/server'],
      cmd: [],
    },
    {
      name: 'an ENTRYPOINT that was taken back',
      config: { Entrypoint: [''], Cmd: ['sh'] },
      entrypoint: [],
      cmd: ['sh'],
    },
    {
      name: 'odd words',
      config: { Entrypoint: ['a,b', '', '|||', '$(X)', 'ä'] },
      entrypoint: ['a,b', '', '|||', '$(X)', 'ä'],
      cmd: [],
    },
  ];
  for (const kind of [oci, docker]) {
    for (const { name, config, entrypoint, cmd } of cases) {
      it(`${kind === oci ? 'OCI' : 'Docker schema 2'}, ${name}: by tag and by digest`, async () => {
        const repository = `cases/${name.toLowerCase().replaceAll(/[^a-z]+/g, '-')}-${kind === oci ? 'oci' : 'docker'}`;
        const { digest } = await pushImage(registry, repository, '1.0', config, { kind });
        expect(await find(`${registry.host}/${repository}:1.0`)).to.deep.equal(known(entrypoint, cmd));
        expect(await find(`${registry.host}/${repository}@${digest}`)).to.deep.equal(known(entrypoint, cmd));
        expect(await find(`${registry.host}/${repository}:9@${digest}`)).to.deep.equal(known(entrypoint, cmd));
      });
    }

    it(`${kind === oci ? 'OCI' : 'Docker'} index: the platform of the pod`, async () => {
      const repository = `index/${kind === oci ? 'oci' : 'docker'}`;
      const amd64 = await pushImage(registry, repository, '', { Cmd: ['amd'] }, { kind });
      const arm64 = await pushImage(registry, repository, '', { Cmd: ['arm'] }, { kind, architecture: 'arm64' });
      const attestation = { ...amd64, platform: { os: 'unknown', architecture: 'unknown' } };
      await pushIndex(registry, repository, 'latest', [attestation, arm64, amd64], kind);
      const image = `${registry.host}/${repository}`;
      expect(await find(image)).to.deep.equal(known([], ['amd']));
      expect(await find(image, undefined, { architecture: 'arm64' })).to.deep.equal(known([], ['arm']));
      const answer = await find(image, undefined, { architecture: 's390x' });
      expect(answer)
        .to.deep.include({ known: false })
        .and.have.property('skip')
        .that.includes({ code: 'IMAGE_INVALID' });
    });
  }

  it('names what is missing', async () => {
    expect(codeOf(await find(`${registry.host}/nothing/here:1`))).to.equal('IMAGE_MISSING');
    expect(codeOf(await find('NOT:an:image'))).to.equal('IMAGE_INVALID');
    expect(codeOf(await find('127.0.0.1:1/gone'))).to.equal('IMAGE_UNREACHABLE');
  });

  it('speaks no plain http to a registry that is not listed as insecure', async () => {
    await pushImage(registry, 'plain', '1', { Cmd: ['x'] });
    expect(codeOf(await find(`${registry.host}/plain:1`, {}))).to.equal('IMAGE_UNREACHABLE');
  });

  it('asks the mirrors first, and the registry when they do not have it', async () => {
    const mirror = await startRegistry();
    undo.push(() => mirror.stop());
    await pushImage(mirror, 'hub/library/redis', '8', { Cmd: ['from-the-mirror'] });
    await pushImage(registry, 'only/here', '1', { Cmd: ['from-the-registry'] });
    const registries: Registries = {
      ...insecure(mirror.host),
      'docker.io': { mirrors: [`${mirror.host}/hub`], insecure: false },
      [registry.host]: { mirrors: ['127.0.0.1:1', mirror.host], insecure: true },
    };
    expect(await find('redis:8', registries)).to.deep.equal(known([], ['from-the-mirror']));
    expect(await find(`${registry.host}/only/here:1`, registries)).to.deep.equal(known([], ['from-the-registry']));
  });

  describe('with a private CA', () => {
    let authority: KeyPair;
    let secure: Registry;
    before(async () => {
      authority = await issueAuthority(Date.now());
      const leaf = await issueLeaf(['localhost'], authority, Date.now());
      secure = await startRegistry({ tls: { ...leaf, ca: authority.cert } });
      await pushImage(secure, 'app', '1', { Cmd: ['tls'] });
    });
    after(() => secure?.stop());

    it('trusts the CA that the configuration names, and no other', async () => {
      const text = `${JSON.stringify(secure.host)}: ${JSON.stringify({ ca: authority.cert })}`;
      expect(await find(`${secure.host}/app:1`, parseRegistries(text, 'file'))).to.deep.equal(known([], ['tls']));
      expect(codeOf(await find(`${secure.host}/app:1`, {}))).to.equal('IMAGE_UNREACHABLE');
    });
  });

  describe('that asks who it is', () => {
    let closed: Registry;
    before(async () => {
      closed = await startRegistry({ htpasswd });
      await pushImage(closed, 'private/app', '1', { Entrypoint: ['/private'] });
    });
    after(() => closed?.stop());
    const of = (host: string, credential: Credential, folder = '') => ({ host, folder, credential });
    const ask = (all: Credentials['all'], isDenied = false) =>
      find(`${closed.host}/private/app:1`, insecure(closed.host), { all, isDenied });

    it('lets in whose pull secret fits', async () => {
      const wrong = { username: 'shop', password: 'wrong' };
      expect(await ask([of(closed.host, account)])).to.deep.equal(known(['/private'], []));
      expect(await ask([of(closed.host, wrong, 'private'), of(closed.host, account)])).to.deep.equal(
        known(['/private'], []),
      );
      expect(codeOf(await ask([of(closed.host, wrong)]))).to.equal('IMAGE_DENIED');
      expect(codeOf(await ask([of('elsewhere:5000', account)]))).to.equal('IMAGE_DENIED');
    });

    it('is denied with the way out when the pull secrets are hidden', async () => {
      const answer = await ask([], true);
      expect(answer)
        .to.have.property('skip')
        .that.has.property('message')
        .that.matches(/pull secrets of shop/);
    });
  });

  describe('with tokens', () => {
    let tokens: TokenServer;
    let guarded: Registry;
    before(async () => {
      const authority = await issueAuthority(Date.now());
      const signer = await issueLeaf(['token'], authority, Date.now());
      const names = { issuer: 'test', service: 'registry' };
      tokens = await startTokenServer({ ...names, signer, open: ['library/open'], account: 'shop:geheim' });
      const { realm } = tokens;
      const pushToken = (name: string): string => tokens.pushToken(name);
      guarded = await startRegistry({ token: { ...names, realm, pushToken, rootCert: authority.cert } });
      await pushImage(guarded, 'library/open', '1', { Cmd: ['open'] });
      await pushImage(guarded, 'library/closed', '1', { Cmd: ['closed'] });
    });
    after(async () => {
      await guarded?.stop();
      await tokens?.stop();
    });

    const hosts = () => insecure(guarded.host, new URL(tokens.realm).host);
    const all = () => [{ host: guarded.host, folder: '', credential: account }];

    it('fetches one, anonymously or as the pull secret says', async () => {
      expect(await find(`${guarded.host}/library/open:1`, hosts())).to.deep.equal(known([], ['open']));
      expect(codeOf(await find(`${guarded.host}/library/closed:1`, hosts()))).to.equal('IMAGE_DENIED');
      const closed = await find(`${guarded.host}/library/closed:1`, hosts(), { all: all() });
      expect(closed).to.deep.equal(known([], ['closed']));
      expect(codeOf(await find(`${guarded.host}/library/closed:2`, hosts(), { all: all() }))).to.equal('IMAGE_MISSING');
      expect(tokens.asked.map(({ scope }) => scope)).to.include('repository:library/closed:pull');
      expect(tokens.asked.map(({ as }) => as)).to.include('shop:geheim');
    });

    it('does not ask a token server over plain http that is not listed', async () => {
      const answer = await find(`${guarded.host}/library/open:1`, insecure(guarded.host));
      expect(codeOf(answer)).to.equal('IMAGE_UNREACHABLE');
    });
  });

  it('follows a blob to other storage without the authorization', async () => {
    const blob = JSON.stringify({ os: 'linux', config: { Cmd: ['elsewhere'] } });
    const manifest = JSON.stringify({
      mediaType: oci.manifest,
      config: { mediaType: oci.config, digest: digestOf(blob), size: blob.length },
      layers: [],
    });
    const seen: { readonly at: string; readonly authorization: string | undefined }[] = [];
    const serve = async (
      answer: (url: string) => readonly [number, Readonly<Record<string, string>>, string],
    ): Promise<string> => {
      const server = createServer((request, response) => {
        const { authorization }: IncomingHttpHeaders = request.headers;
        seen.push({ at: `${request.headers.host} ${request.url}`, authorization });
        const [status, headers, body] =
          authorization === undefined && request.url?.startsWith('/v2/') === true
            ? [401, { 'www-authenticate': 'Basic realm="r"' }, '']
            : answer(request.url ?? '');
        response.writeHead(status, headers).end(body);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      undo.push(() => {
        server.close();
        server.closeAllConnections();
      });
      return `localhost:${(server.address() as AddressInfo).port}`;
    };
    const storage = await serve(() => [200, {}, blob]);
    const front = await serve((url) =>
      url.includes('/manifests/')
        ? [200, { 'content-type': oci.manifest }, manifest]
        : [307, { location: `http://${storage}/signed` }, ''],
    );
    const all = [{ host: front, folder: '', credential: account }];
    expect(await find(`${front}/app:1`, insecure(front, storage), { all })).to.deep.equal(known([], ['elsewhere']));
    expect(seen.filter(({ at }) => at === `${storage} /signed`)).to.deep.equal([
      { at: `${storage} /signed`, authorization: undefined },
    ]);
    // Nor is a plain address that nobody listed followed at all: what is on this network is none of a registry's business.
    expect(codeOf(await find(`${front}/app:1`, insecure(front), { all }))).to.equal('IMAGE_UNREACHABLE');
  });
});
