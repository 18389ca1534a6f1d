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
      isRepairing: false,
      store: {
        type: 's3',
        endpoint: '',
        region: 'us-east-1',
        bucket: 'bucket',
        accessKeyId: 'id',
        secretAccessKey: 'very-secret',
        forcePathStyle: false,
      },
      role: undefined,
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
      PODFERRY_REPAIR: 'true',
      PODFERRY_RETENTION_COUNT: '5',
      PODFERRY_RETENTION_TTL_SECONDS: '3600',
    });
    expect(config.retention).to.include({ count: 5, ttlSeconds: 3600 });
    expect(config.isRepairing).to.equal(true);
    expect(config.prefix).to.equal('a/b');
    expect(config.store.forcePathStyle).to.equal(true);
    expect(config.store.endpoint).to.equal('http://10.0.0.1:7480');
  });

  it('asks for a role where the store is, unless told otherwise', () => {
    const arn = 'arn:aws:iam::123456789012:role/podferry';
    const endpoint = 'http://10.0.0.1:7480';
    expect(parseConfig({ ...env, PODFERRY_S3_ROLE_ARN: '' }).role).to.equal(undefined);
    expect(parseConfig({ ...env, PODFERRY_S3_ROLE_ARN: arn }).role).to.deep.equal({ arn, stsEndpoint: undefined });
    const near = parseConfig({ ...env, PODFERRY_S3_ROLE_ARN: arn, PODFERRY_S3_ENDPOINT: endpoint });
    expect(near.role?.stsEndpoint).to.equal(endpoint);
    const far = { PODFERRY_S3_ROLE_ARN: arn, PODFERRY_S3_STS_ENDPOINT: 'https://sts.example.com' };
    expect(parseConfig({ ...env, ...far }).role?.stsEndpoint).to.equal('https://sts.example.com');
  });

  it('needs no bucket for a folder', () => {
    const { store } = parseConfig({ PODFERRY_STORE_TYPE: 'file', PODFERRY_STORE_FOLDER: '/data' });
    expect(store).to.include({ type: 'file', folder: '/data', bucket: '' });
  });

  const role = { PODFERRY_S3_ROLE_ARN: 'arn:aws:iam::1:role/r' };
  const directory = { PODFERRY_S3_BUCKET: 'fast--use1-az4--x-s3' };
  for (const [name, change] of Object.entries({
    'no bucket': { PODFERRY_S3_BUCKET: undefined },
    'no key': { PODFERRY_S3_ACCESS_KEY_ID: '' },
    'no secret': { PODFERRY_S3_SECRET_ACCESS_KEY: '' },
    'a type of store that does not exist': { PODFERRY_STORE_TYPE: 'secret tape' },
    'MinIO nowhere': { PODFERRY_S3_ENDPOINT: '', PODFERRY_STORE_TYPE: 'minio' },
    'files without a folder': { PODFERRY_STORE_FOLDER: '', PODFERRY_STORE_TYPE: 'file' },
    'files in a folder without a beginning': { PODFERRY_STORE_FOLDER: 'secret/data', PODFERRY_STORE_TYPE: 'file' },
    'a folder for a bucket': { PODFERRY_STORE_FOLDER: '/data' },
    'a role that is no ARN': { PODFERRY_S3_ROLE_ARN: 'secret role' },
    'a role with Google': { ...role, PODFERRY_STORE_TYPE: 'gcs' },
    'a role in a directory bucket': { ...role, ...directory },
    'STS without a role': { PODFERRY_S3_STS_ENDPOINT: 'https://sts.example.com' },
    'a directory bucket by its path': { PODFERRY_S3_FORCE_PATH_STYLE: 'true', ...directory },
    "a directory bucket of Google's": { ...directory, PODFERRY_STORE_TYPE: 'gcs' },
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
