import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { PodferryError } from '../../proto/errors.ts';

/** How the API server is reached; asked before each request, since tokens and CAs are replaced under our feet. */
export type Access = () => Promise<{
  /** https://host:port */
  readonly server: string;
  readonly ca: string;
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}>;

export interface Read {
  /** Absolute, its segments encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly accept?: string;
  readonly signal: AbortSignal;
}

/**
 * Reads of the API server, which is all the webhook does. Not the client library: it takes 98 MB of memory, of the 150 that
 * a webhook may have, and knows no metadata-only lists.
 */
export interface KubeApi {
  /** @throws PodferryError INTERNAL with the status in its detail when there is one */
  get(read: Read): Promise<unknown>;
  /** The lines of the answer, each one JSON, until the server ends it. @throws as `get` */
  lines(read: Read): AsyncIterable<unknown>;
}

const longestError = 500;

/** As the kubelet mounts it into a pod that has a service account. */
export function inCluster(server: string, directory: string): Access {
  return async () => {
    const [ca, token] = await Promise.all([
      readFile(`${directory}/ca.crt`, 'utf8'),
      readFile(`${directory}/token`, 'utf8'),
    ]);
    return { server, ca, token: token.trim() };
  };
}

export function createKubeApi(access: Access): KubeApi {
  async function open({ path, query, accept = 'application/json', signal }: Read): Promise<IncomingMessage> {
    const { server, ca, token, cert, key } = await access();
    const url = new URL(server + path);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = https.request(url, {
        ca,
        signal,
        agent: false,
        ...(cert === undefined || key === undefined ? {} : { cert, key }),
        headers: {
          accept,
          'user-agent': 'podferry-webhook',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end();
    });
    const status = response.statusCode ?? 0;
    if (status === 200) return response;
    const text = (await textOf(response)).slice(0, longestError);
    throw new PodferryError('INTERNAL', `GET ${path}: ${status} ${text}`, { status });
  }

  return {
    async get(read) {
      try {
        return JSON.parse(await textOf(await open(read)));
      } catch (error) {
        throw unanswered(error, read.path);
      }
    },
    async *lines(read) {
      try {
        const response = await open(read);
        response.setEncoding('utf8');
        let rest = '';
        for await (const chunk of response) {
          const whole = (rest + String(chunk)).split('\n');
          rest = whole.pop() ?? '';
          for (const line of whole) if (line !== '') yield JSON.parse(line);
        }
      } catch (error) {
        throw unanswered(error, read.path);
      }
    },
  };
}

/** The API server's answer to a failed read; undefined when there was none. */
export function statusOf(error: unknown): number | undefined {
  const status = error instanceof PodferryError ? error.detail['status'] : undefined;
  return typeof status === 'number' ? status : undefined;
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

function unanswered(error: unknown, path: string): PodferryError {
  if (error instanceof PodferryError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new PodferryError('INTERNAL', `GET ${path}: no answer from the API server: ${why}`, {}, { cause: error });
}
