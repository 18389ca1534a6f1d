import type { OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import type { KubeConfig } from '@kubernetes/client-node';
import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import type { SecretData } from './plan-certificates.ts';

/** A Secret as it was read: `version` is what a write must find unchanged. */
export interface FoundSecret {
  readonly version: string;
  readonly type: string;
  readonly data: SecretData;
}

export interface FoundWebhook {
  readonly name: string;
  /** PEM; empty when there is none. */
  readonly caBundle: string;
}

/** The few things of the API server that are needed here. Each call fails with PodferryError when the signal ends it. */
export interface Cluster {
  readSecret(name: string, signal: AbortSignal): Promise<FoundSecret | undefined>;
  /** @returns false when another writer was first */
  writeSecret(
    name: string,
    data: Readonly<Record<string, string>>,
    found: FoundSecret | undefined,
    signal: AbortSignal,
  ): Promise<boolean>;
  /** @returns undefined when the configuration is not there */
  readWebhooks(name: string, signal: AbortSignal): Promise<readonly FoundWebhook[] | undefined>;
  /** @returns false when another writer was first */
  writeCaBundle(name: string, webhooks: readonly FoundWebhook[], pem: string, signal: AbortSignal): Promise<boolean>;
}

export const tlsSecretType = 'kubernetes.io/tls';

const Secret = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string(), uid: z.string() }),
  type: z.string().default('Opaque'),
  data: z.record(z.string(), z.string()).default({}),
});

const WebhookConfiguration = z.looseObject({
  webhooks: z
    .array(z.looseObject({ name: z.string(), clientConfig: z.looseObject({ caBundle: z.string().default('') }) }))
    .default([]),
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
}

const expected: ReadonlySet<number> = new Set([200, 201, 404, 409, 422]);

/** Speaks raw JSON; address, CA and the projected token, which is renewed, come from the client library's KubeConfig. */
export function createCluster(config: KubeConfig, namespace: string): Cluster {
  const secretsPath = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const webhookPath = (name: string) =>
    `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${encodeURIComponent(name)}`;

  return {
    async readSecret(name, signal) {
      const { status, body } = await call(config, { method: 'GET', path: `${secretsPath}/${name}` }, signal);
      if (status === 404) return undefined;
      const { metadata, type, data } = parsed(Secret, body, `Secret ${name}`);
      return { version: metadata.resourceVersion, type, data: mapValues(data, fromBase64) };
    },

    async writeSecret(name, data, found, signal) {
      const isReplaced = found !== undefined && found.type !== tlsSecretType;
      if (isReplaced) {
        // The type of a Secret cannot be changed.
        const body = { preconditions: { resourceVersion: found.version } };
        const { status } = await call(config, { method: 'DELETE', path: `${secretsPath}/${name}`, body }, signal);
        if (status === 409) return false;
      }
      const isNew = found === undefined || isReplaced;
      const body = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: {
          name,
          namespace,
          labels: { 'app.kubernetes.io/part-of': 'podferry' },
          ...(isNew ? {} : { resourceVersion: found.version }),
        },
        type: tlsSecretType,
        data: mapValues(data, toBase64),
      };
      const { status } = isNew
        ? await call(config, { method: 'POST', path: secretsPath, body }, signal)
        : await call(config, { method: 'PUT', path: `${secretsPath}/${name}`, body }, signal);
      if (status === 422) throw new PodferryError('INTERNAL', `the API server finds the Secret ${name} invalid`);
      return status !== 409 && status !== 404;
    },

    async readWebhooks(name, signal) {
      const { status, body } = await call(config, { method: 'GET', path: webhookPath(name) }, signal);
      if (status === 404) return undefined;
      const { webhooks } = parsed(WebhookConfiguration, body, `MutatingWebhookConfiguration ${name}`);
      return webhooks.map((one) => ({ name: one.name, caBundle: fromBase64(one.clientConfig.caBundle) }));
    },

    async writeCaBundle(name, webhooks, pem, signal) {
      const operations = webhooks.flatMap((webhook, index) => [
        // Fails when the list has changed since it was read.
        { op: 'test', path: `/webhooks/${index}/name`, value: webhook.name },
        { op: 'add', path: `/webhooks/${index}/clientConfig/caBundle`, value: toBase64(pem) },
      ]);
      const contentType = 'application/json-patch+json';
      const { status } = await call(
        config,
        { method: 'PATCH', path: webhookPath(name), body: operations, contentType },
        signal,
      );
      return status === 200;
    },
  };
}

async function call(
  config: KubeConfig,
  { method, path, body, contentType }: Call,
  signal: AbortSignal,
): Promise<Answer> {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new PodferryError('CONFIG_INVALID', 'there is no cluster in the kubeconfig');
  const what = `${method} ${path}`;
  try {
    const options: https.RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const answer = await new Promise<Answer>((resolve, reject) => {
      const url = new URL(cluster.server.replace(/\/$/, '') + path);
      const headers = {
        ...(options.headers as OutgoingHttpHeaders | undefined),
        accept: 'application/json',
        'user-agent': 'podferry-certs',
        // Node sends the body of a DELETE without any framing unless told its length.
        ...(payload === undefined
          ? {}
          : { 'content-type': contentType ?? 'application/json', 'content-length': Buffer.byteLength(payload) }),
      };
      const request = https.request(url, { ...options, method, headers, signal }, (response) => {
        text(response).then((answered) => {
          const status = response.statusCode ?? 0;
          resolve({ status, body: expected.has(status) ? JSON.parse(answered) : answered.slice(0, 500) });
        }, reject);
      });
      request.on('error', reject);
      request.end(payload);
    });
    if (expected.has(answer.status)) return answer;
    throw new PodferryError('INTERNAL', `${what}: the API server answered ${answer.status}: ${String(answer.body)}`);
  } catch (cause) {
    if (cause instanceof PodferryError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PodferryError('INTERNAL', `${what}: no answer from the API server: ${reason}`, {}, { cause });
  }
}

function parsed<T>(schema: z.ZodType<T>, body: unknown, what: string): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new PodferryError('INTERNAL', `the API server's ${what} has an unexpected shape`, {}, { cause: result.error });
}

function mapValues(
  from: Readonly<Record<string, string>>,
  map: (value: string) => string,
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, map(value)]));
}

function toBase64(value: string): string {
  return Buffer.from(value).toString('base64');
}

function fromBase64(value: string): string {
  return Buffer.from(value, 'base64').toString();
}
