import { createServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { applyPatch, type Operation } from 'rfc6902';
import { issueAuthority, issueLeaf } from '../../certs/issue.ts';

type Data = Readonly<Record<string, string>>;

interface StoredSecret {
  readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly uid: string };
  readonly type: string;
  /** base64 */
  readonly data: Data;
}

interface Configuration {
  readonly webhooks: { readonly name: string; readonly clientConfig: { caBundle?: string } }[];
}

/** As much of an API server, over TLS, as podferry-certs speaks with: Secrets with optimistic locks, one configuration. */
export interface FakeApi {
  readonly url: string;
  readonly ca: string;
  secretNames(): readonly string[];
  secret(name: string): Data;
  put(name: string, type: string, data: Data): void;
  remove(name: string): void;
  removeConfiguration(): void;
  setCaBundle(pem: string): void;
  caBundles(): readonly string[];
  writes(): number;
  conflictOnce(): void;
  hang(): void;
  fail(status: number): void;
  close(): Promise<void>;
}

const encode = (value: string) => Buffer.from(value).toString('base64');
const decode = (value: string) => Buffer.from(value, 'base64').toString();
const mapped = (data: Data, map: (value: string) => string) =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, map(value)]));

export async function startFakeApi(): Promise<FakeApi> {
  const authority = await issueAuthority(Date.now());
  const leaf = await issueLeaf(['localhost'], authority, Date.now());
  const stored = new Map<string, StoredSecret>();
  const unset: Configuration = { webhooks: [{ name: 'deployments.migration.io', clientConfig: {} }] };
  let configuration: Configuration | undefined = structuredClone(unset);
  let version = 0;
  let writes = 0;
  let conflicts = 0;
  let mode: 'answer' | 'hang' | number = 'answer';

  function store(name: string, type: string, data: Data): StoredSecret {
    version += 1;
    const secret = { metadata: { name, resourceVersion: `${version}`, uid: `u${version}` }, type, data };
    stored.set(name, secret);
    return secret;
  }

  async function answer(request: IncomingMessage): Promise<readonly [number, unknown]> {
    const path = request.url ?? '';
    const body = request.method === 'GET' ? undefined : await json(request);
    if (request.method !== 'GET') writes += 1;
    if (request.method !== 'GET' && conflicts > 0) {
      conflicts -= 1;
      return [409, {}];
    }
    if (path === '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podferry') {
      if (configuration === undefined) return [404, {}];
      if (request.method === 'PATCH') {
        const failures = applyPatch(configuration, body as Operation[]).filter((one) => one !== null);
        if (failures.length > 0) return [422, {}];
      }
      return [200, configuration];
    }
    const [, name] = /^\/api\/v1\/namespaces\/migration-system\/secrets(?:\/([a-z-]+))?$/.exec(path) ?? [];
    const sent = body as StoredSecret | undefined;
    const found = stored.get(name ?? sent?.metadata.name ?? '');
    if (request.method === 'POST' && sent !== undefined) {
      return found === undefined ? [201, store(sent.metadata.name, sent.type, sent.data)] : [409, {}];
    }
    if (found === undefined || name === undefined) return [404, {}];
    if (request.method === 'DELETE') stored.delete(name);
    if (request.method === 'PUT' && sent !== undefined) {
      if (sent.metadata.resourceVersion !== found.metadata.resourceVersion) return [409, {}];
      return sent.type === found.type ? [200, store(name, sent.type, sent.data)] : [422, {}];
    }
    return [200, found];
  }

  function respond(response: ServerResponse, [status, body]: readonly [number, unknown]): void {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  const server = createServer({ cert: leaf.cert, key: leaf.key }, (request, response) => {
    if (mode === 'hang') return;
    if (request.headers.authorization !== 'Bearer token') return respond(response, [401, {}]);
    if (mode !== 'answer') return respond(response, [mode, { message: 'forbidden' }]);
    answer(request).then(
      (result) => respond(response, result),
      (error: unknown) => respond(response, [500, { message: String(error) }]),
    );
  });
  await new Promise<void>((resolve) => void server.listen(0, 'localhost', resolve));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    ca: authority.cert,
    secretNames: () => [...stored.keys()],
    secret: (name) => mapped(stored.get(name)?.data ?? {}, decode),
    put: (name, type, data) => void store(name, type, mapped(data, encode)),
    remove: (name) => void stored.delete(name),
    removeConfiguration: () => {
      configuration = undefined;
    },
    setCaBundle: (pem) => {
      configuration = structuredClone(unset);
      for (const { clientConfig } of configuration.webhooks) clientConfig.caBundle = encode(pem);
    },
    caBundles: () => configuration?.webhooks.map(({ clientConfig }) => decode(clientConfig.caBundle ?? '')) ?? [],
    writes: () => writes,
    conflictOnce: () => {
      conflicts = 1;
    },
    hang: () => {
      mode = 'hang';
    },
    fail: (status) => {
      mode = status;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
