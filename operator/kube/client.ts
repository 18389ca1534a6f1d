import https from 'node:https';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { KubeConfig } from '@kubernetes/client-node';
import { PodferryError } from '../../proto/errors.ts';
import { ApiError } from './errors.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** The content types of patches; the server has no sensible default, so each call names its own. */
export const patchTypes = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export interface Call {
  readonly method: Method;
  /** Absolute path, its segments encoded by the caller (see `pathTo`). */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  /** The whole answer must be there within this time. */
  readonly timeoutMs?: number;
  /** Told each warning that the server adds to its answer: its own, and those of admission webhooks. */
  readonly onWarning?: (text: string) => void;
}

export interface Watching {
  readonly path: string;
  readonly query: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Without a byte for this long the watch is over. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** The server has accepted the watch. */
  readonly onOpen: () => void;
  readonly onEvent: (type: string, object: unknown) => void;
}

/** The API server, spoken to in raw JSON. */
export interface KubeClient {
  /** @throws ApiError when the server answers with an error; PodferryError INTERNAL (retryable) when it does not answer */
  call(call: Call): Promise<unknown>;
  /** Resolves when the server ends the watch or `idleMs` pass. @throws as `call` */
  watch(watching: Watching): Promise<void>;
}

const defaultTimeoutMs = 15_000;
const maxErrorChars = 2_000;

/**
 * Address, certificates and tokens come from the client library's KubeConfig, which also renews projected tokens; the
 * requests are made here, because its typed calls drop unknown fields and know no deadline.
 */
export function createKubeClient(config: KubeConfig): KubeClient {
  const agent = new https.Agent({ keepAlive: true, maxFreeSockets: 16 });

  async function open(call: Call, signal: AbortSignal): Promise<IncomingMessage> {
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new PodferryError('CONFIG_INVALID', 'the kubeconfig has no current cluster');
    const options: https.RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const url = new URL(cluster.server.replace(/\/$/, '') + call.path);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    return new Promise((resolve, reject) => {
      const request = https.request(url, {
        ...options,
        // the library makes its agents without keep-alive; only a proxy needs its own
        agent: cluster.proxyUrl === undefined ? agent : options.agent,
        method: call.method,
        signal,
        headers: {
          // an object: the library adds the authorization to it
          ...(options.headers as OutgoingHttpHeaders | undefined),
          accept: 'application/json',
          'user-agent': 'podferry-operator',
          ...(body === undefined
            ? {}
            : { 'content-type': call.contentType ?? 'application/json', 'content-length': body.length }),
        },
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end(body);
    });
  }

  return {
    async call(call) {
      const signal = AbortSignal.timeout(call.timeoutMs ?? defaultTimeoutMs);
      const what = `${call.method} ${call.path}`;
      try {
        const response = await open(call, signal);
        const text = await readText(response);
        if (!isSuccess(response)) throw toApiError(response, text, what);
        if (call.onWarning !== undefined) warningsOf(response).forEach(call.onWarning);
        return text === '' ? undefined : JSON.parse(text);
      } catch (error) {
        throw unreachable(error, what);
      }
    },

    async watch({ path, query, idleMs, signal, onOpen, onEvent }) {
      const idle = new AbortController();
      let timer = setTimeout(() => idle.abort(), idleMs);
      const touch = (): void => {
        clearTimeout(timer);
        timer = setTimeout(() => idle.abort(), idleMs);
      };
      const call: Call = { method: 'GET', path, query: { ...query, watch: true } };
      try {
        const response = await open(call, AbortSignal.any([signal, idle.signal]));
        if (!isSuccess(response)) throw toApiError(response, await readText(response), `WATCH ${path}`);
        touch();
        onOpen();
        for await (const line of linesOf(response, touch)) deliver(line, path, onEvent);
      } catch (error) {
        if (!idle.signal.aborted && !signal.aborted) throw unreachable(error, `WATCH ${path}`);
      } finally {
        clearTimeout(timer);
        idle.abort();
      }
    },
  };
}

/** Joins path segments, each encoded. */
export function pathTo(base: string, ...segments: readonly string[]): string {
  return [base, ...segments.map((segment) => encodeURIComponent(segment))].join('/');
}

export const paths = {
  pods: '/api/v1/pods',
  nodes: '/api/v1/nodes',
  claims: '/api/v1/persistentvolumeclaims',
  replicaSets: '/apis/apps/v1/replicasets',
  deployments: '/apis/apps/v1/deployments',
  jobs: '/apis/batch/v1/jobs',
  tokenReviews: '/apis/authentication.k8s.io/v1/tokenreviews',
  pod: (namespace: string, name: string): string => pathTo('/api/v1/namespaces', namespace, 'pods', name),
  deployment: (namespace: string, name: string): string =>
    pathTo('/apis/apps/v1/namespaces', namespace, 'deployments', name),
  podsIn: (namespace: string): string => pathTo('/api/v1/namespaces', namespace, 'pods'),
  eventsIn: (namespace: string): string => pathTo('/api/v1/namespaces', namespace, 'events'),
  secretsIn: (namespace: string): string => pathTo('/api/v1/namespaces', namespace, 'secrets'),
  configMapsIn: (namespace: string): string => pathTo('/api/v1/namespaces', namespace, 'configmaps'),
  deploymentsIn: (namespace: string): string => pathTo('/apis/apps/v1/namespaces', namespace, 'deployments'),
  leasesIn: (namespace: string): string => pathTo('/apis/coordination.k8s.io/v1/namespaces', namespace, 'leases'),
} as const;

function deliver(line: string, path: string, onEvent: Watching['onEvent']): void {
  const event = JSON.parse(line) as { readonly type?: unknown; readonly object?: unknown };
  if (event.type === 'ERROR') {
    const status = event.object as { readonly code?: number; readonly reason?: string; readonly message?: string };
    throw new ApiError(status.code ?? 500, status.reason ?? 'Unknown', `WATCH ${path}: ${status.message ?? 'error'}`);
  }
  onEvent(String(event.type), event.object);
}

async function* linesOf(response: IncomingMessage, touch: () => void): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  for await (const chunk of response) {
    touch();
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line !== '');
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

/** Of `Warning: 299 - "text"`, the form in RFC 7234, section 5.5; quotes and backslashes in the text are escaped. */
function warningsOf(response: IncomingMessage): readonly string[] {
  const texts = (response.headersDistinct['warning'] ?? []).join(', ').matchAll(/\b299 \S+ "((?:[^"\\]|\\.)*)"/g);
  return [...texts].map(([, text = '']) => text.replaceAll(/\\(.)/g, '$1'));
}

function isSuccess(response: IncomingMessage): boolean {
  return response.statusCode !== undefined && response.statusCode >= 200 && response.statusCode < 300;
}

function toApiError(response: IncomingMessage, text: string, what: string): ApiError {
  const status = response.statusCode ?? 0;
  const parsed = parseStatus(text);
  const message = parsed.message ?? text.slice(0, maxErrorChars);
  return new ApiError(status, parsed.reason ?? 'Unknown', `${what}: ${status} ${message}`);
}

function parseStatus(text: string): { readonly reason?: string; readonly message?: string } {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    // a proxy in between answers with something else than a Status; the caller shows the text itself
    return {};
  }
}

function unreachable(error: unknown, what: string): Error {
  if (error instanceof ApiError || error instanceof PodferryError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new PodferryError('INTERNAL', `${what}: no answer from the API server: ${text}`, {}, { cause: error });
}
