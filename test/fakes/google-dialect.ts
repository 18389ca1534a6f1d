import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
const authorization =
  /^GOOG4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/(\w+)\/storage\/goog4_request, SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/;

/**
 * What Google's endpoint has against a request in the dialect of its V4 signature, or undefined. From the bytes that came, not from what our
 * signer meant: https://cloud.google.com/storage/docs/authentication/canonical-requests
 */
export function googleRefusal(
  request: IncomingMessage,
  keys: { readonly accessKeyId: string; readonly secretAccessKey: string },
): { readonly status: number; readonly code: string } | undefined {
  const names = Object.keys(request.headers);
  if (names.some((name) => name.startsWith('x-amz-')) && names.some((name) => name.startsWith('x-goog-'))) {
    return { status: 400, code: 'ExcessHeaderValues' };
  }
  const [, keyId, day = '', location = '', signed = '', signature] =
    authorization.exec(request.headers.authorization ?? '') ?? [];
  const time = String(request.headers['x-goog-date']);
  if (keyId !== keys.accessKeyId || !time.startsWith(day) || !signed.split(';').includes('host')) {
    return { status: 403, code: 'SignatureDoesNotMatch' };
  }
  const [path = '', query = ''] = (request.url ?? '').split('?');
  const canonical = [
    request.method,
    path,
    query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
      .toSorted()
      .join('&'),
    ...signed.split(';').map((name) => `${name}:${String(request.headers[name])}`),
    '',
    signed,
    request.headers['x-goog-content-sha256'],
  ].join('\n');
  const scope = [day, location, 'storage', 'goog4_request'];
  const key = scope.reduce<string | Buffer>((parent, part) => hmac(parent, part), `GOOG4${keys.secretAccessKey}`);
  const text = ['GOOG4-HMAC-SHA256', time, scope.join('/'), sha256(canonical)].join('\n');
  if (hmac(key, text).toString('hex') !== signature) return { status: 403, code: 'SignatureDoesNotMatch' };
  // Every header of Google's must be signed.
  const isUnsigned = names.some((name) => name.startsWith('x-goog-') && !signed.split(';').includes(name));
  return isUnsigned ? { status: 403, code: 'SignatureDoesNotMatch' } : undefined;
}
