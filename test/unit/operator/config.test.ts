import { expect } from 'chai';
import { parseConfig } from '../../../operator/config.ts';
import { isPodferryError } from '../../fakes/expect-code.ts';

const env = {
  PODFERRY_S3_BUCKET: 'bucket',
  PODFERRY_S3_ACCESS_KEY_ID: 'id',
  PODFERRY_S3_SECRET_ACCESS_KEY: 'very-secret',
};

describe('operator/config', () => {
  it('has defaults for all but the bucket and its credentials, and takes an empty variable for one that is not set', () => {
    const config = parseConfig({ ...env, PODFERRY_S3_ENDPOINT: '', PODFERRY_S3_FORCE_PATH_STYLE: '', POD_NAME: '' });
    expect(config).to.deep.equal({
      logLevel: 'info',
      podName: undefined,
      namespace: 'migration-system',
      tlsDir: '/tls',
      hubPort: 8443,
      healthPort: 8080,
      store: {
        endpoint: '',
        region: 'us-east-1',
        bucket: 'bucket',
        accessKeyId: 'id',
        secretAccessKey: 'very-secret',
        forcePathStyle: false,
      },
      prefix: '',
      retention: { count: 2, ttlSeconds: 604_800, depth: 16 },
    });
  });

  it('takes what is set', () => {
    const config = parseConfig({
      ...env,
      PODFERRY_S3_PREFIX: '/a/b/',
      PODFERRY_S3_FORCE_PATH_STYLE: 'true',
      PODFERRY_S3_ENDPOINT: 'http://10.0.0.1:7480',
      PODFERRY_RETENTION_COUNT: '5',
      PODFERRY_RETENTION_TTL_SECONDS: '3600',
    });
    expect(config.retention).to.include({ count: 5, ttlSeconds: 3600 });
    expect(config.prefix).to.equal('a/b');
    expect(config.store.forcePathStyle).to.equal(true);
    expect(config.store.endpoint).to.equal('http://10.0.0.1:7480');
  });

  for (const [name, change] of Object.entries({
    'no bucket': { PODFERRY_S3_BUCKET: undefined },
    'an endpoint that is no URL': { PODFERRY_S3_ENDPOINT: 'very secret place' },
    'a retention of nothing': { PODFERRY_RETENTION_COUNT: '0' },
    'a retention of no number': { PODFERRY_RETENTION_TTL_SECONDS: 'a week' },
    'a log level that does not exist': { PODFERRY_LOG_LEVEL: 'loud' },
  })) {
    it(`refuses ${name}, naming the variable and no value`, () => {
      const error = isPodferryError('CONFIG_INVALID', () => parseConfig({ ...env, ...change }));
      expect(error.message).to.contain(Object.keys(change)[0]);
      expect(error.message).not.to.contain('secret');
    });
  }
});
