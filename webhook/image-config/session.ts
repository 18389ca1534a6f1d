import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { type Challenge, parseChallenge } from './challenge.ts';
import { type Get, type Got, httpGet, jsonOf } from './http-get.ts';
import type { Credential } from './pull-secret.ts';
import type { Endpoint } from './registries.ts';

export interface SessionOptions {
  readonly endpoint: Endpoint;
  /** Tried one after the other, then without any. */
  readonly credentials: readonly Credential[];
  readonly signal: AbortSignal;
  readonly allowsHttp: Get['allowsHttp'];
}

/** A conversation with one repository: it finds out once how to be let in. */
export interface Session {
  /**
   * GET below the repository's address.
   * @throws PodferryError IMAGE_UNREACHABLE, IMAGE_DENIED, IMAGE_MISSING, IMAGE_INVALID
   */
  get(path: string, accept: string, longestBytes: number): Promise<Got>;
}

const Token = z.looseObject({ token: z.string().optional(), access_token: z.string().optional() });
const longestToken = 64 * 1024;

/** @see distribution docs/spec/api.md and docs/spec/auth/token.md: the HTTP API V2 and its tokens */
export function openSession({ endpoint, credentials, signal, allowsHttp }: SessionOptions): Session {
  const { origin, repository, host, ca } = endpoint;
  const ask = (url: URL, accept: string, longestBytes: number, authorization: string | undefined): Promise<Got> =>
    httpGet({
      url,
      headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
      ca,
      signal,
      longestBytes,
      allowsHttp,
    });

  async function tokenFor(
    challenge: Challenge & { readonly scheme: 'bearer' },
    credential: Credential | undefined,
  ): Promise<string | undefined> {
    if (!URL.canParse(challenge.realm)) {
      throw new PodferryError('IMAGE_UNREACHABLE', `${host} asks for a token of something that is no address`);
    }
    const url = new URL(challenge.realm);
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
    url.searchParams.set('scope', challenge.scope ?? `repository:${repository}:pull`);
    const got = await ask(url, 'application/json', longestToken, credential && basic(credential));
    if (got.status === 401 || got.status === 403) return undefined;
    const parsed = got.status === 200 ? Token.safeParse(jsonOf(got.body)) : undefined;
    const token = parsed?.data?.token ?? parsed?.data?.access_token;
    if (token !== undefined && /^[\x21-\x7e]+$/.test(token)) return `Bearer ${token}`;
    throw new PodferryError('IMAGE_UNREACHABLE', `${url.host} gave no token for ${host}: status ${got.status}`);
  }

  async function authorizationFor(challenge: Challenge, one: Credential | undefined): Promise<string | undefined> {
    return challenge.scheme === 'bearer' ? tokenFor(challenge, one) : one && basic(one);
  }

  let authorization: string | undefined;
  return {
    async get(path, accept, longestBytes) {
      const url = new URL(`${origin}/v2/${repository}/${path}`);
      let got = await ask(url, accept, longestBytes, authorization);
      const challenge = got.status === 401 ? parseChallenge(got.headers['www-authenticate']) : undefined;
      if (challenge !== undefined) {
        for (const credential of [...credentials, undefined]) {
          authorization = await authorizationFor(challenge, credential);
          if (authorization === undefined) continue;
          got = await ask(url, accept, longestBytes, authorization);
          if (got.status !== 401 && got.status !== 403) break;
        }
      }
      if (got.status === 200) return got;
      throw refusal(got.status, `${host}/${repository}`);
    },
  };
}

function refusal(status: number, what: string): PodferryError {
  if (status === 401 || status === 403) return new PodferryError('IMAGE_DENIED', `${what} may not be read: ${status}`);
  if (status === 404) return new PodferryError('IMAGE_MISSING', `${what} does not have the image`);
  return new PodferryError('IMAGE_UNREACHABLE', `${what}: status ${status}`);
}

function basic({ username, password }: Credential): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
