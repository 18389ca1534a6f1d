import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { awaitMasterKey } from '../../../operator/keys/master-key.ts';
import { paths, pathTo } from '../../../operator/kube/client.ts';
import { secrets } from '../../../proto/names.ts';
import { clientFor } from './cluster.ts';

describe('operator/keys/master-key with a real API server', function () {
  this.timeout(30_000);

  it('is one key, however many operators start at once', async function () {
    const client = clientFor(this);
    const namespace = `keys-${randomUUID().slice(0, 8)}`;
    await client.call({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: namespace } } });
    const { signal } = new AbortController();
    const read = async (): Promise<Buffer> => awaitMasterKey(client, namespace, () => undefined, signal);
    const keys = [...(await Promise.all([read(), read(), read(), read()])), await read()];
    expect(new Set(keys.map((key) => key.toString('hex')))).to.have.property('size', 1);
    expect(keys[0]).to.have.length(32);
    await client.call({ method: 'DELETE', path: pathTo(paths.secretsIn(namespace), secrets.masterKey) });
  });
});
