/** What a registry asks for in `WWW-Authenticate`. */
export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service: string | undefined;
      readonly scope: string | undefined;
    };

const longestHeader = 4096;

/**
 * The challenge we can answer, Bearer before Basic; undefined when there is none.
 * @see RFC 9110 section 11.6.1, and the distribution project's spec/auth/token.md
 */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  if (header === undefined || header.length > longestHeader) return undefined;
  const schemes = new Map<string, Map<string, string>>();
  let parameters: Map<string, string> | undefined;
  // A word without "=" behind it begins a challenge; the others are parameters of the last one.
  for (const [, name = '', quoted, plain] of header.matchAll(/([\w-]+)(?:="((?:[^"\\]|\\.)*)"|=([^\s,"]*))?/g)) {
    if (quoted === undefined && plain === undefined) {
      parameters = new Map();
      schemes.set(name.toLowerCase(), parameters);
    } else parameters?.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '');
  }
  const bearer = schemes.get('bearer');
  const realm = bearer?.get('realm');
  if (bearer !== undefined && realm !== undefined) {
    return { scheme: 'bearer', realm, service: bearer.get('service'), scope: bearer.get('scope') };
  }
  return schemes.has('basic') ? { scheme: 'basic' } : undefined;
}
