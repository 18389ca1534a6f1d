import { PodferryError } from '../../proto/errors.ts';

/** STS takes no more, in characters. */
const maxPolicyChars = 2048;

/**
 * What an agent may do in the bucket: read, write, remove and list below its instance's prefix, and nothing else anywhere. Pure.
 * @param partition of the ARN: `aws`, `aws-cn`, ...
 * @param keyPrefix ends in a slash
 * @throws PodferryError ANNOTATION_INVALID when the prefix has characters that mean something in a policy
 */
export function sessionPolicy(partition: string, bucket: string, keyPrefix: string): string {
  if (/[*?$"\\]/.test(keyPrefix) || !keyPrefix.endsWith('/')) {
    throw new PodferryError('ANNOTATION_INVALID', `no rights can be given for the key prefix ${keyPrefix}`, {
      keyPrefix,
    });
  }
  const arn = `arn:${partition}:s3:::${bucket}`;
  const policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
        Resource: [`${arn}/${keyPrefix}*`],
      },
      {
        Effect: 'Allow',
        Action: ['s3:ListBucket'],
        Resource: [arn],
        Condition: { StringLike: { 's3:prefix': [`${keyPrefix}*`] } },
      },
    ],
  });
  if (policy.length > maxPolicyChars) {
    throw new PodferryError('ANNOTATION_INVALID', `the key prefix ${keyPrefix} is too long for a policy`, {
      keyPrefix,
    });
  }
  return policy;
}
