import { createHash, createHmac } from 'node:crypto';

const algorithm = 'GOOG4-HMAC-SHA256';
/** Google takes any location in the scope; its own samples say `auto`. */
const scopeEnd = 'auto/storage/goog4_request';
/** Of the SDK, or such as a proxy may change: they have no meaning to Google and are neither sent nor signed. */
const dropped = /^(?:x-amz-(?!content-sha256$)|amz-sdk-|accept-encoding$|authorization$|if-none-match$)/;

/** As much of a request of the SDK as is signed; the body's digest is in `x-amz-content-sha256`. */
export interface Signable {
  readonly method: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  /** Encoded. */
  readonly path: string;
  readonly query?: Record<string, string | string[] | null>;
  readonly headers: Record<string, string>;
}

export interface HmacKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** As RFC 3986 and Google's canonical requests have it: encodeURIComponent leaves a few characters out. */
const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );

function canonicalQuery(query: Signable['query']): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    [value ?? ''].flat().map((one) => `${encode(name)}=${encode(one)}`),
  );
  return pairs.toSorted().join('&');
}

/**
 * An S3 request in Google's dialect: its signature, its names of headers, and create-once as the precondition that Google enforces. Google ignores
 * `If-None-Match` on a PUT, and refuses its own headers beside any of Amazon's ("ExcessHeaderValues"), which Amazon's signature cannot do without.
 * @see https://cloud.google.com/storage/docs/authentication/signatures, .../xml-api/reference-headers
 */
export function toGoogle<T extends Signable>(request: T, keys: HmacKeys, now: Date): T {
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const given = Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  const headers: Record<string, string> = Object.fromEntries(given.filter(([name]) => !dropped.test(name)));
  const port = request.port === undefined ? '' : `:${request.port}`;
  headers['host'] ??= `${request.hostname}${port}`;
  headers['x-goog-date'] = time;
  headers['x-goog-content-sha256'] = headers['x-amz-content-sha256'] ?? 'UNSIGNED-PAYLOAD';
  delete headers['x-amz-content-sha256'];
  if (given.some(([name, value]) => name === 'if-none-match' && value === '*'))
    headers['x-goog-if-generation-match'] = '0';

  // The one that names the call, for Amazon's own logs.
  const { 'x-id': _, ...query } = request.query ?? {};
  const names = Object.keys(headers)
    .filter((name) => name === 'host' || name.startsWith('x-goog-'))
    .toSorted();
  const canonical = [
    request.method,
    request.path,
    canonicalQuery(query),
    ...names.map((name) => `${name}:${headers[name]?.trim()}`),
    '',
    names.join(';'),
    headers['x-goog-content-sha256'],
  ].join('\n');
  const scope = `${time.slice(0, 8)}/${scopeEnd}`;
  const text = [algorithm, time, scope, sha256(canonical)].join('\n');
  const key = scope
    .split('/')
    .reduce<string | Buffer>((parent, part) => hmac(parent, part), `GOOG4${keys.secretAccessKey}`);
  headers['authorization'] =
    `${algorithm} Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${hmac(key, text).toString('hex')}`;
  return { ...request, headers, query };
}
