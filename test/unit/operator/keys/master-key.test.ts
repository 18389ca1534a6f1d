import { expect } from 'chai';
import { awaitMasterKey, readMasterKey } from '../../../../operator/keys/master-key.ts';
import type { Call } from '../../../../operator/kube/client.ts';
import { PodferryError } from '../../../../proto/errors.ts';
import { answering, apiError } from '../../../fakes/kube-client.ts';

const namespace = 'migration-system';

/** An API server with one Secret. */
function server(secret?: unknown): { readonly calls: Call[]; secret: unknown } & ReturnType<typeof answering> {
  const state = { calls: [] as Call[], secret };
  return Object.assign(
    state,
    answering((call) => {
      state.calls.push(call);
      if (call.method === 'GET') {
        if (state.secret === undefined) throw apiError(404, 'NotFound');
        return state.secret;
      }
      if (state.secret !== undefined) throw apiError(409, 'AlreadyExists');
      state.secret = call.body;
      return call.body;
    }),
  );
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  const error: unknown = await run.catch((thrown: unknown) => thrown);
  return error instanceof PodferryError ? error.code : `no error but ${String(error)}`;
}

describe('operator/keys/master-key', () => {
  it('is made by the first operator and read by the others', async () => {
    const client = server();
    const key = await readMasterKey(client, namespace);
    expect(key).to.have.length(32);
    expect(await readMasterKey(client, namespace)).to.deep.equal(key);
    expect(client.calls.map((call) => `${call.method} ${call.path}`)).to.deep.equal([
      'GET /api/v1/namespaces/migration-system/secrets/podferry-master-key',
      'POST /api/v1/namespaces/migration-system/secrets',
      'GET /api/v1/namespaces/migration-system/secrets/podferry-master-key',
    ]);
    expect(client.secret).to.include({ kind: 'Secret', immutable: true });
  });

  it("is the other replica's when that one was first", async () => {
    const theirs = Buffer.alloc(32, 9);
    let reads = 0;
    const client = answering(({ method }) => {
      if (method === 'POST') throw apiError(409, 'AlreadyExists');
      reads += 1;
      if (reads === 1) throw apiError(404, 'NotFound');
      return { data: { key: theirs.toString('base64') } };
    });
    expect(await readMasterKey(client, namespace)).to.deep.equal(theirs);
  });

  for (const [name, secret] of Object.entries({
    'is too short': { data: { key: Buffer.alloc(31).toString('base64') } },
    'is not there': { data: {} },
    'is no base64': { data: { key: '*' } },
    'has no data': {},
  })) {
    it(`is never replaced: a key that ${name}`, async () => {
      const client = server(secret);
      expect(await codeOf(readMasterKey(client, namespace))).to.equal('CONFIG_INVALID');
      expect(client.secret).to.equal(secret);
    });
  }

  it('is waited for while the API server does not answer, and not when it may not be read', async () => {
    const { signal } = new AbortController();
    const failures = [new PodferryError('INTERNAL', 'no answer')];
    const inner = server();
    const client = answering(async (call) => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return inner.call(call);
    });
    let retries = 0;
    const count = (): void => {
      retries += 1;
    };
    expect(await awaitMasterKey(client, namespace, count, signal)).to.have.length(32);
    expect(retries).to.equal(1);

    const forbidden = answering(() => {
      throw apiError(403, 'Forbidden');
    });
    const error: unknown = await awaitMasterKey(forbidden, namespace, count, signal).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('status', 403);
    expect(retries).to.equal(1);
  });
});
