import { expect } from 'chai';
import { toGoogle } from '../../../../proto/s3/goog4.ts';

const now = new Date('2026-03-04T05:06:07.890Z');
const keys = { accessKeyId: 'GOOG1E', secretAccessKey: 'a-secret' };
const request = {
  method: 'PUT',
  hostname: 'storage.example.com',
  path: '/bucket/a%20b',
  query: { 'x-id': 'PutObject' },
  headers: {
    'Content-Type': 'application/octet-stream',
    'x-amz-content-sha256': 'ab12',
    'x-amz-user-agent': 'sdk',
    'amz-sdk-request': 'attempt=1',
    'if-none-match': '*',
  },
};

describe('proto/s3/goog4', () => {
  it("says everything in Google's words, and nothing in Amazon's", () => {
    const { headers, query } = toGoogle(request, keys, now);
    const { authorization, ...others } = headers as Record<string, string>;
    expect(others).to.deep.equal({
      host: 'storage.example.com',
      'content-type': 'application/octet-stream',
      'x-goog-content-sha256': 'ab12',
      'x-goog-date': '20260304T050607Z',
      'x-goog-if-generation-match': '0',
    });
    expect(query).to.deep.equal({});
    expect(authorization).to.match(
      /^GOOG4-HMAC-SHA256 Credential=GOOG1E\/20260304\/auto\/storage\/goog4_request, SignedHeaders=host;x-goog-content-sha256;x-goog-date;x-goog-if-generation-match, Signature=[0-9a-f]{64}$/,
    );
    expect(authorization).not.to.contain(keys.secretAccessKey);
  });

  it('leaves the request as it is: it may be signed again for another try', () => {
    const before = structuredClone(request);
    expect(toGoogle(request, keys, now)).to.deep.equal(toGoogle(request, keys, now));
    expect(request).to.deep.equal(before);
  });

  const changes: { name: string; change: Partial<typeof request>; secret?: string }[] = [
    { name: 'method', change: { method: 'GET' } },
    { name: 'path', change: { path: '/bucket/b' } },
    { name: 'digest', change: { headers: { ...request.headers, 'x-amz-content-sha256': 'cd34' } } },
    { name: 'precondition', change: { headers: { ...request.headers, 'if-none-match': '' } } },
    { name: 'host', change: { hostname: 'other.example.com' } },
    { name: 'secret', change: {}, secret: 'another' },
  ];
  for (const { name, change, secret } of changes) {
    it(`signs the ${name}`, () => {
      const one = toGoogle(request, keys, now).headers as Record<string, string>;
      const other = toGoogle(
        { ...request, ...change },
        { ...keys, secretAccessKey: secret ?? keys.secretAccessKey },
        now,
      );
      expect((other.headers as Record<string, string>)['authorization']).not.to.equal(one['authorization']);
    });
  }
});
