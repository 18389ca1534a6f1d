import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { PodferryError } from '../../proto/errors.ts';

export interface Get {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly ca: readonly string[] | undefined;
  readonly signal: AbortSignal;
  readonly longestBytes: number;
  /** Asked for each URL that a redirect leads to and that is no https. */
  readonly allowsHttp: (host: string) => boolean;
}

export interface Got {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

const mostRedirects = 5;
const redirects: readonly number[] = [301, 302, 303, 307, 308];

/**
 * GET, following redirects. The authorization goes to the first origin only: registries send to storage elsewhere, which
 * must not see it. A connection is not kept, since the next image is seldom at the same registry.
 * @throws PodferryError IMAGE_UNREACHABLE when there is no answer; IMAGE_INVALID when it is longer than allowed
 */
export async function httpGet(get: Get): Promise<Got> {
  let { url } = get;
  let headers = get.headers;
  for (let hop = 0; hop <= mostRedirects; hop += 1) {
    const got = await getOnce({ ...get, url, headers });
    const { location } = got.headers;
    if (!redirects.includes(got.status) || location === undefined) return got;
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (next === undefined || !(next.protocol === 'https:' || next.protocol === 'http:')) {
      throw new PodferryError('IMAGE_UNREACHABLE', `${url.host} redirects to something that is no address`);
    }
    if (next.origin !== url.origin) headers = withoutAuthorization(headers);
    url = next;
  }
  throw new PodferryError('IMAGE_UNREACHABLE', `${get.url.host} redirects too often`);
}

function withoutAuthorization(headers: Get['headers']): Get['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
}

async function getOnce({ url, headers, ca, signal, longestBytes, allowsHttp }: Get): Promise<Got> {
  if (url.protocol === 'http:' && !allowsHttp(url.host)) {
    throw new PodferryError('IMAGE_UNREACHABLE', `${url.host} is not listed as insecure, so not asked over plain http`);
  }
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { headers: { 'user-agent': 'podferry-webhook', ...headers }, signal, agent: false as const };
      const request =
        url.protocol === 'http:'
          ? http.request(url, options)
          : https.request(url, { ...options, ...(ca === undefined ? {} : { ca: [...ca] }) });
      request.on('response', resolve);
      request.on('error', reject);
      request.end();
    });
    return { status: response.statusCode ?? 0, headers: response.headers, body: await bodyOf(response, longestBytes) };
  } catch (error) {
    if (error instanceof PodferryError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new PodferryError('IMAGE_UNREACHABLE', `${url.host} did not answer: ${why}`, {}, { cause: error });
  }
}

async function bodyOf(response: IncomingMessage, longestBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    const buffer = chunk as Buffer;
    bytes += buffer.length;
    if (bytes > longestBytes) {
      response.destroy();
      throw new PodferryError('IMAGE_INVALID', `an answer of the registry is longer than ${longestBytes} bytes`);
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks);
}

/** What an answer says; undefined when it is no JSON. */
export function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
