import { expect } from 'chai';
import { sessionPolicy } from '../../../../operator/store/session-policy.ts';
import { isPodferryError } from '../../../fakes/expect-code.ts';

describe('operator/store/session-policy', () => {
  it("allows what an agent does, on its instance's prefix", () => {
    expect(JSON.parse(sessionPolicy('aws-cn', 'b', 'p/ns/deployment-web/i/'))).to.deep.equal({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
          Resource: ['arn:aws-cn:s3:::b/p/ns/deployment-web/i/*'],
        },
        {
          Effect: 'Allow',
          Action: ['s3:ListBucket'],
          Resource: ['arn:aws-cn:s3:::b'],
          Condition: { StringLike: { 's3:prefix': ['p/ns/deployment-web/i/*'] } },
        },
      ],
    });
  });

  for (const [name, keyPrefix] of Object.entries({
    'a wildcard': 'ns/deployment-web/*/',
    'a placeholder': 'ns/deployment-web/?/',
    'a variable': 'ns/deployment-web/${aws:userid}/',
    'no end: that of a neighbour may begin with it': 'ns/deployment-web/i',
    'more than a policy holds': `ns/deployment-web/${'i'.repeat(2000)}/`,
  })) {
    it(`refuses a prefix with ${name}`, () => {
      isPodferryError('ANNOTATION_INVALID', () => sessionPolicy('aws', 'b', keyPrefix));
    });
  }
});
