import { expect } from 'chai';
import { KubeConfig } from '@kubernetes/client-node';
import { createCluster } from '../../../certs/cluster.ts';
import { type Deps, reconcile } from '../../../certs/reconcile.ts';
import { createLog } from '../../../proto/logging.ts';
import { type FakeApi, startFakeApi } from '../../fakes/certs-api.ts';

const day = 24 * 60 * 60 * 1000;
const start = Date.parse('2026-11-21T12:00:00Z');

describe('certs reconcile', () => {
  let api: FakeApi;
  let now: number;
  let deps: Deps;

  beforeEach(async () => {
    now = start;
    api = await startFakeApi();
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      { name: 'fake', server: api.url, caData: Buffer.from(api.ca).toString('base64'), skipTLSVerify: false },
      { name: 'certs', token: 'token' },
    );
    const log = createLog('certs');
    log.silent = true;
    deps = { cluster: createCluster(config, 'migration-system'), namespace: 'migration-system', log, now: () => now };
  });
  afterEach(() => api.close());

  const settle = async (): Promise<void> => {
    for (let round = 0; round < 5; round += 1) {
      if (await reconcile(deps, AbortSignal.timeout(5000))) return;
    }
    throw new Error('never settled');
  };
  const pem = (secret: string, key: string) => api.secret(secret)[key] ?? '';

  it('makes everything out of nothing and then writes nothing more', async () => {
    await settle();
    expect(api.secretNames()).to.have.members(['podferry-ca', 'podferry-operator-tls', 'podferry-webhook-tls']);
    expect(api.caBundles()).to.deep.equal([pem('podferry-ca', 'ca.crt')]);
    expect(pem('podferry-webhook-tls', 'ca.crt')).to.equal(pem('podferry-ca', 'ca.crt'));
    expect(api.secret('podferry-webhook-tls')).to.have.all.keys('tls.crt', 'tls.key', 'ca.crt');
    const writes = api.writes();
    await settle();
    expect(api.writes()).to.equal(writes);
  });

  it('puts right what was deleted, edited or made by somebody else', async () => {
    api.put('podferry-webhook-tls', 'Opaque', { 'tls.crt': 'mine' });
    await settle();
    const ca = pem('podferry-ca', 'tls.crt');
    api.remove('podferry-operator-tls');
    api.put('podferry-webhook-tls', 'kubernetes.io/tls', { ...api.secret('podferry-webhook-tls'), 'ca.crt': 'x' });
    api.setCaBundle('');
    await settle();
    expect(pem('podferry-ca', 'tls.crt')).to.equal(ca);
    expect(pem('podferry-operator-tls', 'ca.crt').trim()).to.equal(ca.trim());
    expect(pem('podferry-webhook-tls', 'ca.crt').trim()).to.equal(ca.trim());
    expect(api.caBundles()[0]?.trim()).to.equal(ca.trim());
  });

  it('renews the certificates, not the CA, at two thirds of their life', async () => {
    await settle();
    const [ca, leaf] = [pem('podferry-ca', 'tls.crt'), pem('podferry-operator-tls', 'tls.crt')];
    now = start + 61 * day;
    await settle();
    expect(pem('podferry-ca', 'tls.crt')).to.equal(ca);
    expect(pem('podferry-operator-tls', 'tls.crt')).to.not.equal(leaf);
  });

  it('replaces the CA with years of overlap: trusted first, signing later, the old one trusted on', async () => {
    await settle();
    const first = pem('podferry-ca', 'tls.crt');
    now = start + 2440 * day;
    await settle();
    const second = pem('podferry-ca', 'next.crt');
    expect(pem('podferry-operator-tls', 'ca.crt')).to.include(first.trim()).and.include(second.trim());
    expect(api.caBundles()[0]).to.include(second.trim());
    now = start + 3050 * day;
    await settle();
    expect(pem('podferry-ca', 'tls.crt')).to.equal(second);
    expect(pem('podferry-operator-tls', 'ca.crt')).to.include(first.trim()).and.include(second.trim());
  });

  it('looks again when another writer was first', async () => {
    await settle();
    now = start + 61 * day;
    api.conflictOnce();
    expect(await reconcile(deps, AbortSignal.timeout(5000))).to.equal(false);
    expect(await reconcile(deps, AbortSignal.timeout(5000))).to.equal(true);
  });

  it('settles without a webhook configuration, and fills it in later', async () => {
    api.removeConfiguration();
    await settle();
    api.setCaBundle('');
    await settle();
    expect(api.caBundles()).to.deep.equal([pem('podferry-ca', 'ca.crt')]);
  });

  it('ends at its deadline when the API server hangs', async () => {
    api.hang();
    let failure: unknown;
    await reconcile(deps, AbortSignal.timeout(100)).catch((error: unknown) => (failure = error));
    expect(failure).to.include({ code: 'INTERNAL' });
  });

  it('says what the API server refuses', async () => {
    api.fail(403);
    let failure: unknown;
    await reconcile(deps, AbortSignal.timeout(5000)).catch((error: unknown) => (failure = error));
    expect(String(failure)).to.match(/GET .*podferry-ca: the API server answered 403/);
  });
});
